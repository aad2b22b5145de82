"""Long loops that leave the event loop time for other work."""

import asyncio

import pytest

from aionotify.yielding import YIELD_EVERY, yielding


@pytest.mark.parametrize("count", [0, 1, YIELD_EVERY, YIELD_EVERY + 1, 3 * YIELD_EVERY])
async def test_every_item_comes_in_order(count: int) -> None:
    assert [each async for each in yielding(range(count))] == list(range(count))


async def test_other_tasks_run_between_batches() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(count_turns())
    seen = [turns async for _ in yielding(range(2 * YIELD_EVERY + 1))]
    task.cancel()
    assert seen == [0] * YIELD_EVERY + [1] * YIELD_EVERY + [2]


async def test_items_are_read_lazily() -> None:
    """An item that is removed while others run is not handled any more."""
    items = list(range(YIELD_EVERY + 2))
    asyncio.get_running_loop().call_soon(items.pop)
    assert [each async for each in yielding(items)] == list(range(YIELD_EVERY + 1))
