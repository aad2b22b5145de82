"""Long loops that leave the event loop time for other work."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

YIELD_EVERY = 100
"""Items that a loop handles before it yields to the event loop.

For 100 items of a few microseconds each, the others wait for less than a millisecond.
"""


async def yielding(items: Iterable[T]) -> AsyncIterator[T]:
    """Iterate over `items`, and yield to the event loop after every `YIELD_EVERY` of them.

    `items` must tolerate changes: other tasks run between two items. Pass a copy of a collection.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % YIELD_EVERY == 0:
            await asyncio.sleep(0)
