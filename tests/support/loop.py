"""An event loop that is turned by hand, on its own clock.

It leans on private names of asyncio, checked with Python 3.11 to 3.13: `Handle._run` runs a
callback, `events._set_running_loop` makes a loop the running one, and `TimerHandle.cancel` calls
`_timer_handle_cancelled` of its loop. Nothing else in the tests does.
"""

import asyncio
import heapq
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

MAX_TURNS = 100_000
"""Turns after which `HandLoop.settle` gives up."""


class HandLoop(asyncio.AbstractEventLoop):
    """A loop that runs nothing by itself: `turn` runs one iteration, `advance` lets time pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self.errors: list[BaseException] = []
        """Exceptions of callbacks and tasks that were reported to the loop."""
        self._ready: list[asyncio.Handle] = []
        self._timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        """Return the seconds that have passed for this loop."""
        return self.now

    def monotonic(self) -> float:
        """Return the same as `time`, so that the loop can replace a module's `time` module."""
        return self.now

    @property
    def idle(self) -> bool:
        """Whether no callback is ready before time passes."""
        return not self._ready

    @property
    def timers(self) -> int:
        """The number of scheduled callbacks."""
        return sum(not timer.cancelled() for timer in self._timers)

    def turn(self) -> None:
        """Run the callbacks that are ready now, but none that become ready meanwhile."""
        while self._timers and self._timers[0].when() <= self.now:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled():
                self._ready.append(timer)
        ready, self._ready = self._ready, []
        for handle in ready:
            if not handle.cancelled():
                handle._run()

    def settle(self) -> None:
        """Turn until no callback is ready. Raise AssertionError if that never happens."""
        for _ in range(MAX_TURNS):
            if not self._ready:
                return
            self.turn()
        raise AssertionError(f"callbacks are still ready after {MAX_TURNS} turns")

    def advance(self, seconds: float) -> None:
        """Let time pass, and run every callback at its time."""
        end = self.now + seconds
        self.settle()
        while self._timers and self._timers[0].when() <= end:
            self.now = max(self.now, self._timers[0].when())
            self.turn()
            self.settle()
        self.now = end

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, timer)
        return timer

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, **options)

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context.get("exception") or RuntimeError(context["message"]))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: `turn` skips cancelled timers."""


@contextmanager
def hand_turned() -> Iterator[HandLoop]:
    """Make a `HandLoop` the running loop. Raise AssertionError if it has `errors` at the end."""
    loop = HandLoop()  # type: ignore[abstract]  # the code under test calls no other method
    asyncio.events._set_running_loop(loop)
    try:
        yield loop
    finally:
        asyncio.events._set_running_loop(None)
    assert not loop.errors
