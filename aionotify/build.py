"""The running program: its version, its Python and its event loop."""

import asyncio
import platform
import sys
from dataclasses import dataclass

from aionotify import __version__


@dataclass(frozen=True, slots=True)
class Build:
    """The versions that belong into every report of a fault."""

    version: str
    python: str
    event_loop: str
    """`uvloop` with its version, or `asyncio`; `none` outside of an event loop."""


def running_build() -> Build:
    """Return the versions of the running program."""
    return Build(__version__, platform.python_version(), _event_loop())


def _event_loop() -> str:
    try:
        package = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    except RuntimeError:
        return "none"
    # The loop of Python itself has no version of its own, and that of uvloop names a submodule.
    version = "" if package == "asyncio" else getattr(sys.modules.get(package), "__version__", "")
    return f"{package} {version}".strip()
