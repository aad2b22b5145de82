"""Waiting for places in the stream."""

import asyncio

import pytest

import aionotify.broker.nats.waiters as module
from aionotify.broker.nats.waiters import Waiters


async def test_lower_numbers_are_released_first() -> None:
    waiters = Waiters()
    tasks = {seq: asyncio.create_task(waiters.reach(seq)) for seq in (7, 5, 6, 5)}
    await asyncio.sleep(0)
    waiters.release(6)
    await tasks[5]
    await tasks[6]
    assert not tasks[7].done()
    waiters.release(9)
    await tasks[7]
    assert len(waiters) == 0


async def test_numbers_that_never_come_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client may ask for one."""
    monkeypatch.setattr(module, "MAX_GIVEN_UP", 10)
    waiters = Waiters()
    kept = asyncio.create_task(waiters.reach(5))
    for _ in range(100):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await waiters.reach(1 << 52)
    assert len(waiters) < 30
    waiters.release(5)
    await kept
