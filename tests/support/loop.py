"""An event loop that is turned by hand, on its own clock, and the transports that go with it."""

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from aionotify.subscriber import Subscriber


class HandLoop(asyncio.AbstractEventLoop):
    """Does nothing until it is told to: `turn` for one iteration, `advance` to let time pass.

    `errors` are the exceptions that callbacks and tasks left to it.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.errors: list[BaseException] = []
        self._ready: list[asyncio.Handle] = []
        self._timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        """Seconds that have passed for this loop."""
        return self.now

    def monotonic(self) -> float:
        """The same, for code that asks the `time` module."""
        return self.now

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done before time passes."""
        return not self._ready

    @property
    def timers(self) -> int:
        """How many callbacks wait for their time."""
        return sum(not timer.cancelled() for timer in self._timers)

    def turn(self) -> None:
        """Run what is ready now, but nothing that becomes ready by that."""
        while self._timers and self._timers[0].when() <= self.now:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled():
                self._ready.append(timer)
        ready, self._ready = self._ready, []
        for handle in ready:
            if not handle.cancelled():
                handle._run()

    def settle(self) -> None:
        """Turn until nothing is left to do; AssertionError if that does not come to an end."""
        for _ in range(100_000):
            if not self._ready:
                return
            self.turn()
        raise AssertionError("there is always something left to do")

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen at its time."""
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
        """Cancelled timers are passed over when their time comes."""


@contextmanager
def hand_turned() -> Iterator[HandLoop]:
    """A `HandLoop` as the running loop. AssertionError where something threw an exception."""
    loop = HandLoop()  # type: ignore[abstract]  # what is missing is not called
    asyncio.events._set_running_loop(loop)
    try:
        yield loop
    finally:
        asyncio.events._set_running_loop(None)
    assert not loop.errors


class FakeTransport(asyncio.Transport):
    """A connection whose peer accepts `room` bytes, and more when it is told to.

    `sent` is what the peer has accepted.
    """

    def __init__(self, protocol: Subscriber, room: float = float("inf")) -> None:
        super().__init__()
        self.protocol = protocol
        self.room = room
        self.sent = bytearray()
        self.buffer = bytearray()
        self.largest = 0
        self.writes = 0
        self.reading = True
        self.eof = False
        self.aborted = False
        self.on_write: Callable[[], None] = lambda: None
        self._closing = False
        self._lost = False
        self._paused = False
        protocol.connection_made(self)

    def take(self) -> bytes:
        """What the peer has accepted since it was last asked."""
        taken = bytes(self.sent)
        self.sent.clear()
        return taken

    def accept(self, room: float = float("inf")) -> None:
        """The peer accepts `room` bytes more."""
        self.room += room
        self._flush()

    def lose(self) -> None:
        """The connection breaks."""
        self.abort()

    def write(self, data: Any) -> None:
        assert not self.eof, "written to after write_eof"
        self.on_write()
        if self._lost:
            return
        self.writes += 1
        self.buffer += data
        self._flush(draining=False)
        self.largest = max(self.largest, len(self.buffer))
        if self.buffer and not self._paused:
            self._paused = True
            self.protocol.pause_writing()

    def _flush(self, draining: bool = True) -> None:
        count = int(min(self.room, len(self.buffer)))
        self.sent += self.buffer[:count]
        del self.buffer[:count]
        self.room -= count
        if self.buffer or not draining:
            return
        if self._paused and not self._lost:
            self._paused = False
            self.protocol.resume_writing()
        if self._closing and not self.buffer:
            self._lose()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def pause_reading(self) -> None:
        assert not self._closing
        self.reading = False

    def resume_reading(self) -> None:
        assert not self._closing
        self.reading = True

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        assert not self._lost, "written to after the end"
        self.eof = True

    def close(self) -> None:
        self._closing = True
        if not self.buffer:
            self._lose()

    def abort(self) -> None:
        self.aborted = self._closing = True
        self.buffer.clear()
        self._lose()

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)
