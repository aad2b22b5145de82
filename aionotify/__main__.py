"""`python -m aionotify`: flags, settings, logging, run."""

import argparse
import asyncio
import itertools
import logging
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from aionotify import __version__
from aionotify.errors import SettingsError
from aionotify.logs import configure_logging
from aionotify.server import serve
from aionotify.settings import Settings, options, read_settings

logger = logging.getLogger("aionotify")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until Ctrl-C or SIGTERM. Returns the exit status: 0, or 2 and one line."""
    flags = _parser().parse_args(arguments)
    named = {name: value for name, value in vars(flags).items() if value and name != "env_file"}
    try:
        settings, hints = read_settings(named, flags.env_file)
    except SettingsError as error:
        print(f"aionotify: {error}", file=sys.stderr)
        return 2
    configure_logging(settings.log_level, settings.log_format)
    for hint in hints:
        logger.warning("%s", hint)
    return _run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aionotify",
        description="A server for real-time notifications over WebSocket and HTTP.",
        epilog=_explained(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="the same as AIONOTIFY_HOST")
    parser.add_argument("--port", help="the same as AIONOTIFY_PORT")
    parser.add_argument("--env-file", type=Path, help="a file with settings, in place of .env")
    parser.add_argument("--log-level", help="the same as AIONOTIFY_LOG_LEVEL")
    parser.add_argument("--version", action="version", version=f"aionotify {__version__}")
    return parser


def _explained() -> str:
    """Every option, by group, with its default in brackets."""
    lines = ["Flags win, then these variables of the environment, then the same lines in .env."]
    for group, members in itertools.groupby(options(), lambda each: each.group):
        lines += ["", f"{group}:"]
        for each in members:
            names = f"{each.variable}, {each.file_variable}" if each.secret else each.variable
            default = each.unset if each.unset else f"default {each.default}"
            lines.append(f"  {names} ({default})")
            lines += textwrap.wrap(
                each.help.replace("`", ""), 76, initial_indent=" " * 6, subsequent_indent=" " * 6
            )
    return "\n".join(lines).replace("`", "")


def _run(settings: Settings) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(serve(settings))
        except KeyboardInterrupt:  # before a handler is set, or where none can be
            return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed: it is not to be had on Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
