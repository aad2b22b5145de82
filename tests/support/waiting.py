"""Waiting for a condition, and watching the event loop meanwhile."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from tests.support.heap import frozen_heap
from tests.support.processor import undisturbed_time

POLL_INTERVAL = 0.01
"""Seconds between two looks at a condition."""

BEAT_INTERVAL = 0.005
"""Seconds that the probe of `turning_loop` sleeps."""


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port of `host` that is not in use at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], seconds: float = 10.0, what: str = ""
) -> None:
    """Wait until `condition` holds. Raise AssertionError if it does not within `seconds`.

    The default is long enough for a busy machine; tests of a promised time state it.
    """
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        if not isinstance(holds, bool):
            holds = await holds
        if holds:
            return
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        await asyncio.sleep(POLL_INTERVAL)


@contextlib.asynccontextmanager
async def turning_loop(limit: float = 0.1) -> AsyncIterator[None]:
    """Raise AssertionError if the event loop is blocked for `limit` seconds in this context.

    Time in which other processes had the processor does not count, and neither does the garbage
    of pytest itself: otherwise every test that uses this would fail now and then.
    """
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = undisturbed_time()
            await asyncio.sleep(BEAT_INTERVAL)
            longest = max(longest, undisturbed_time() - before)

    with frozen_heap():
        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    assert longest < limit, f"the event loop was blocked for {longest * 1000:.0f} ms"
