"""The stall time-out of a paused transport."""

import asyncio

import pytest

from aionotify.stall import STALL_CHECKS, StallTimer
from tests.support.loop import HandLoop

TIMEOUT = 8.0
"""The stall time-out of these tests, in seconds."""


class Buffer(asyncio.Transport):
    """A transport of which only the size of its write buffer matters."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def get_write_buffer_size(self) -> int:
        return self.size


def watch(buffer: Buffer, *, watching: bool = True) -> tuple[StallTimer, list[str]]:
    """Return a timer for `buffer`, and a list that gets an entry when it stalls.

    `watching` is whether it goes on after progress.
    """
    stalls: list[str] = []
    return StallTimer(buffer, TIMEOUT, lambda: stalls.append("stalled"), lambda: watching), stalls


def test_unread_buffer_stalls_once(loop: HandLoop) -> None:
    _, stalls = watch(Buffer(10))
    loop.advance(TIMEOUT - 0.1)
    assert stalls == []
    loop.advance(TIMEOUT / STALL_CHECKS + 0.2)
    assert stalls == ["stalled"]
    assert loop.timers == 0


def test_progress_starts_anew(loop: HandLoop) -> None:
    buffer = Buffer(10)
    _, stalls = watch(buffer)
    for size in range(9, 4, -1):
        loop.advance(TIMEOUT * 0.7)
        buffer.size = size
    loop.advance(TIMEOUT * 0.9)
    assert stalls == []
    loop.advance(TIMEOUT * 0.5)
    assert stalls == ["stalled"]


def test_growing_buffer_is_no_progress(loop: HandLoop) -> None:
    buffer = Buffer(10)
    _, stalls = watch(buffer)
    for size in range(11, 15):
        loop.advance(TIMEOUT / STALL_CHECKS)
        buffer.size = size
    assert stalls == []
    loop.advance(TIMEOUT / STALL_CHECKS + 0.1)
    assert stalls == ["stalled"]


@pytest.mark.parametrize("size", [9, 0])
def test_timer_ends_with_progress_if_told(loop: HandLoop, size: int) -> None:
    buffer = Buffer(10)
    _, stalls = watch(buffer, watching=False)
    loop.advance(TIMEOUT / 2)
    buffer.size = size
    loop.advance(2 * TIMEOUT)
    assert (stalls, loop.timers) == ([], 0)


def test_canceled_timer_is_silent(loop: HandLoop) -> None:
    timer, stalls = watch(Buffer(10))
    timer.cancel()
    timer.cancel()
    loop.advance(2 * TIMEOUT)
    assert (stalls, loop.timers) == ([], 0)
