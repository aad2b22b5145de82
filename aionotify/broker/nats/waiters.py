"""Requests that wait until the node has reached a place in the stream."""

import asyncio
import heapq
import itertools

MAX_GIVEN_UP = 1000
"""Requests that do not wait anymore, above which they are forgotten."""


class Waiters:
    """Tasks that wait for numbers, the lowest first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tiebreak = itertools.count()
        self._given_up = 0

    def __len__(self) -> int:
        """Return the number of tasks, including some that do not wait anymore."""
        return len(self._waiting)

    async def reach(self, seq: int) -> None:
        """Wait until the number `seq` is released."""
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (seq, next(self._tiebreak), future))
        try:
            await future
        finally:
            self._given_up += future.cancelled()
            # Clients may ask for numbers that never come.
            if self._given_up > MAX_GIVEN_UP and self._given_up > len(self._waiting) // 2:
                self._waiting = [each for each in self._waiting if not each[2].done()]
                heapq.heapify(self._waiting)
                self._given_up = 0

    def release(self, last: int) -> None:
        """Let all go on that wait for numbers up to `last`."""
        while self._waiting and self._waiting[0][0] <= last:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)
