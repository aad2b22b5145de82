"""Waiting for a condition, and watching the event loop meanwhile."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

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
    condition: Callable[[], bool | Awaitable[bool]], seconds: float = 5.0, what: str = ""
) -> None:
    """Wait until `condition` holds. Raise AssertionError if it does not within `seconds`."""
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

    Time in which the processor ran other processes is subtracted where the system reports it
    (Linux): otherwise every test that uses this would fail now and then on a busy machine.
    """
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.monotonic() - _waited_for_processor()
            await asyncio.sleep(BEAT_INTERVAL)
            longest = max(longest, time.monotonic() - _waited_for_processor() - before)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert longest < limit, f"the event loop was blocked for {longest * 1000:.0f} ms"


def _waited_for_processor() -> float:
    """Return the seconds that this thread was runnable but not running, or 0 if unknown."""
    try:
        # The second field is the time on the run queue in nanoseconds (Linux, CONFIG_SCHED_INFO).
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        return 0.0
