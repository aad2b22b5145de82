"""Versions of the running program, as the start line and `build_info` show them."""

import asyncio
import platform

import pytest

from aionotify import __version__
from aionotify.build import Build, running_build


async def built() -> Build:
    """Return the build inside of the running event loop."""
    return running_build()


def test_asyncio_has_no_version() -> None:
    with asyncio.Runner() as runner:
        assert runner.run(built()) == Build(__version__, platform.python_version(), "asyncio")


def test_uvloop_has_its_version() -> None:
    uvloop = pytest.importorskip("uvloop", reason="Windows and PyPy have none")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(built()).event_loop == f"uvloop {uvloop.__version__}"


def test_build_without_event_loop() -> None:
    assert running_build().event_loop == "none"
