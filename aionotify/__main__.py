"""`python -m aionotify`: flags, settings, logging, run."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aionotify import __version__
from aionotify.errors import SettingsError
from aionotify.journal import log_to_stderr
from aionotify.server import serve
from aionotify.settings import Settings, read_settings

log = logging.getLogger("aionotify")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until Ctrl-C or SIGTERM. Returns the exit status: 0, or 2 and one line."""
    flags = _parser().parse_args(arguments)
    named = {name: value for name, value in vars(flags).items() if value and name != "env_file"}
    try:
        settings, hints = read_settings(named, flags.env_file)
    except SettingsError as error:
        print(f"aionotify: {error}", file=sys.stderr)
        return 2
    log_to_stderr(settings.log_level, settings.log_format)
    for hint in hints:
        log.warning("%s", hint)
    return _run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aionotify",
        description="A server for real-time notifications over WebSocket.",
        epilog="Every setting can also come from the environment or from .env: see README.md.",
    )
    parser.add_argument("--host", help="where to listen (AIONOTIFY_HOST, default localhost)")
    parser.add_argument("--port", help="0 picks a free one (AIONOTIFY_PORT, default 8000)")
    parser.add_argument("--env-file", type=Path, help="settings, as VARIABLE=value (default .env)")
    parser.add_argument("--log-level", help="debug, info, warning or error (AIONOTIFY_LOG_LEVEL)")
    parser.add_argument("--version", action="version", version=f"aionotify {__version__}")
    return parser


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
