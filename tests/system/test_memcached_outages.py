"""memcached fails while notifications flow: connected clients see no difference."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support import eventually, log_lines
from tests.support.heap import frozen_heap
from tests.system.outages import (
    OUTAGES,
    Outage,
    WatchedServer,
    restarted_four_times,
    watched_server,
)

STARTS = 2
"""How many servers start at the same time: one per processor, so that none is late."""


@pytest.mark.usefixtures("memcached")  # says that this test needs memcached installed
async def test_outages_go_unnoticed() -> None:
    """Run all outages at the same time, each with a server of its own: they mostly wait."""
    starting = asyncio.Semaphore(STARTS)
    with frozen_heap():
        async with asyncio.TaskGroup() as group:
            for name, outage in OUTAGES.items():
                group.create_task(_check_outage(name, outage, starting))
            group.create_task(_check_repeated_outages(starting))


async def _check_outage(name: str, outage: Outage, starting: asyncio.Semaphore) -> None:
    """Let one outage pass. The server recovers, having logged each transition once."""
    async with _named(name), watched_server(starting) as watched:
        before = time.monotonic()
        await outage(watched)
        await watched.delivers()
        # Retries back off exponentially, so recovery may take as long as the outage did.
        await watched.reports("connected", 2 + (time.monotonic() - before))
        await watched.check_delivery()
        line = log_lines.reconnected(f"127.0.0.1:{watched.memcached.port}")
        # The server stores the recent notifications before it logs that it is connected again.
        await eventually(lambda: line in watched.server.output(), 2, f"the log has {line}")
        assert watched.server.output().count(line) == 1
        assert watched.losses() == 1
        _check_no_traceback(watched)


async def _check_repeated_outages(starting: asyncio.Semaphore) -> None:
    """Let several outages pass. Every recovery leaves the server ready for the next one."""
    async with _named("restarted four times"), watched_server(starting) as watched:
        await restarted_four_times(watched)
        await watched.check_delivery()
        assert watched.losses() >= 4
        _check_no_traceback(watched)


def _check_no_traceback(watched: WatchedServer) -> None:
    output = watched.server.output()
    assert "Traceback" not in output
    assert "Task exception" not in output


@asynccontextmanager
async def _named(name: str) -> AsyncIterator[None]:
    """Name the outage in an exception: several run at the same time."""
    try:
        yield
    except Exception as error:
        error.add_note(f"outage: memcached {name}")
        raise
