"""The `.env` file, read strictly: the line that a lenient reader skips may have the token."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from aionotify.errors import SettingsError
from aionotify.settings.option import PREFIX

DEFAULT = Path(".env")

_ASSIGNMENT = re.compile(rf"\s*(export\s+)?{PREFIX}\w*\s*=")


def read_env_file(path: Path | None) -> dict[str, str | None]:
    """Return the variables in `path`, or in `.env` in the working directory, which may be missing.

    Raise SettingsError if it cannot be read, or if a line cannot be parsed or is ambiguous. The
    message has the file and the line, never the text of the line, which may be a secret.
    """
    if path is None and not DEFAULT.exists():
        return {}
    text = _read(path or DEFAULT, "--env-file: " if path else "")
    for line in _bad_lines(text):
        raise SettingsError(
            f"{path or DEFAULT}, line {line}: cannot be parsed (expected NAME=value, with both "
            "quotes or none)"
        )
    # From a stream and not from a path: without one, python-dotenv 1.2.4 searches the folder of
    # this module and all above it, not the working directory. It replaces `${NAME}` in values.
    return dotenv_values(stream=io.StringIO(text))


def _read(path: Path, flag: str) -> str:
    # Docker creates a directory for a bind mount whose source does not exist.
    if not path.is_file():
        raise SettingsError(f"{flag}{str(path)!r} is not a file")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        # str() of a UnicodeDecodeError would show a byte of the file.
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error.strerror
        raise SettingsError(f"{path} cannot be read: {reason}") from error


def _bad_lines(text: str) -> Iterator[int]:
    """Iterate over the numbers of the lines that are no assignment."""
    # python-dotenv 1.2.4 logs a warning for a line that it cannot parse, skips it, and goes on: a
    # server whose token has an open quote would start without one, open to everyone.
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or _is_lost(binding):
            skipped = binding.original.string
            blank = skipped[: len(skipped) - len(skipped.lstrip())]
            yield binding.original.line + len(re.findall(r"\r\n|\n|\r", blank))


def _is_lost(binding: Binding) -> bool:
    """Return whether a setting of ours is in this binding, but is not what it assigns."""
    key, value = binding.key or "", binding.value
    if PREFIX in key.upper():
        # `NAME:value` and `NAME` without `=` have no value, `$env:NAME=value` has another name.
        return value is None or not key.isidentifier()
    # A quote that is closed lines below swallows the assignments in between.
    return any(_ASSIGNMENT.match(line) for line in (value or "").splitlines()[1:])
