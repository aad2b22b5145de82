"""`.env.example` and the table of settings, generated from `aionotify.settings.options`."""

import itertools
import re
import textwrap
from pathlib import Path

from aionotify.settings import options
from aionotify.settings.option import UNSET, Option
from tests.support import ROOT

EXAMPLE = ROOT / ".env.example"
README = next(path for path in (ROOT / "docker/README.md", ROOT / "README.md") if path.is_file())
"""The document with the table of settings."""

TABLE = re.compile(r"\| variable \| default \| \|\n(?:\|.*\n)+")
WIDTH = 100

HEAD = """\
# Settings of aionotify. Copy this file to .env and change what you need.
# Every line shows the default. Flags and environment variables override this file.
"""
FROM_FILE = "The same, read from a file, such as a container secret."


def files() -> dict[Path, str]:
    """Return the text of `.env.example`, and of the document with its table replaced."""
    document = README.read_text(encoding="utf-8")
    return {EXAMPLE: example(), README: TABLE.sub(lambda _: table(), document, count=1)}


def table() -> str:
    """Return the table of settings in Markdown."""
    rows = ["| variable | default | |", "| --- | --- | --- |"]
    for each in options():
        rows.append(f"| `{each.variable}` | {each.unset or f'`{each.default}`'} | {each.help} |")
        if each.secret:
            rows.append(f"| `{each.file_variable}` | {UNSET} | {FROM_FILE} |")
    return "\n".join(rows) + "\n"


def example() -> str:
    """Return the whole text of `.env.example`."""
    text = HEAD
    for group, members in itertools.groupby(options(), lambda each: each.group):
        text += f"\n# == {group} ==\n"
        for each in members:
            text += f"\n{_comment(each)}\n#{each.variable}={each.default}\n"
            if each.secret:
                text += f"# {FROM_FILE}\n#{each.file_variable}=\n"
    return text


def _comment(option: Option) -> str:
    text = option.help
    if option.unset not in ("", UNSET):
        text += f" Unset: {option.unset}."
    return textwrap.fill(text.replace("`", ""), WIDTH, initial_indent="# ", subsequent_indent="# ")
