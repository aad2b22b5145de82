"""`python -m aionotify`: flags, settings, logging, run."""

import argparse
import asyncio
import itertools
import logging
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from aionotify import __version__, token_command
from aionotify.errors import SettingsError
from aionotify.logs import configure_logging
from aionotify.server import serve
from aionotify.settings import Settings, options, read_settings

HELP_WIDTH = 76
HELP_INDENT = " " * 6

# Not __name__, which is `__main__` under `python -m`.
logger = logging.getLogger("aionotify")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until Ctrl-C or SIGTERM, and return the exit status.

    The status is 0, or 2 if a setting is invalid or the server cannot listen.
    With `token` as the first argument, make or check a JWT instead.
    This is the entry point of `aionotify`, `aionotify-server` and `python -m aionotify`.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["token"]:
        return token_command.main(given[1:])
    flags = _parser().parse_args(given)
    named = {name: value for name, value in vars(flags).items() if value and name != "env_file"}
    try:
        settings, hints = read_settings(named, flags.env_file)
    except SettingsError as error:
        # Not a log line: the settings say how to log, and they are invalid.
        print(f"aionotify: {error}", file=sys.stderr)
        return 2
    configure_logging(settings.log_level, settings.log_format)
    for hint in hints:
        logger.warning("%s", hint)
    return _run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aionotify",  # otherwise `__main__.py` under `python -m`
        description="A real-time notification server: WebSocket, server-sent events and HTTP.\n"
        "To make and check JWTs, see aionotify token --help.",
        epilog=_settings_help(),
        # The default formatter would join the lines of the epilog into one paragraph.
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # No `type=int` and no `choices`: read_settings checks flags and variables in the same way.
    parser.add_argument("--host", help="same as AIONOTIFY_HOST")
    parser.add_argument("--port", help="same as AIONOTIFY_PORT")
    parser.add_argument("--env-file", type=Path, help="file with settings, instead of .env")
    parser.add_argument("--log-level", help="same as AIONOTIFY_LOG_LEVEL")
    parser.add_argument("--version", action="version", version=f"aionotify {__version__}")
    return parser


def _settings_help() -> str:
    """Return the help on all settings by group, each with its default in parentheses."""
    lines = ["Settings are read from flags, then environment variables, then .env."]
    for group, members in itertools.groupby(options(), lambda each: each.group):
        lines += ["", f"{group}:"]
        for each in members:
            names = f"{each.variable}, {each.file_variable}" if each.secret else each.variable
            lines.append(f"  {names} ({each.unset or f'default {each.default}'})")
            lines += textwrap.wrap(
                each.help.replace("`", ""),
                HELP_WIDTH,
                initial_indent=HELP_INDENT,
                subsequent_indent=HELP_INDENT,
            )
    return "\n".join(lines).replace("`", "")


def _run(settings: Settings) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(serve(settings))
        except KeyboardInterrupt:
            # Ctrl-C before the server has installed its own signal handlers: asyncio.Runner
            # cancels the task, and raises this when the task has ended.
            return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of uvloop, or None if it is not installed (it lacks Windows support)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
