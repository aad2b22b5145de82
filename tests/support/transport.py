"""A transport whose peer accepts only as many bytes as a test allows."""

import asyncio
from collections.abc import Callable
from typing import Any

from aionotify.subscriber import Subscriber


class FakeTransport(asyncio.Transport):
    """A connection whose peer accepts `room` bytes, and more when a test says so.

    It behaves as asyncio's selector transport does with a write buffer limit of 0: it pauses the
    protocol while a byte is left in its buffer, and reports the lost connection in a later turn of
    the loop.
    """

    def __init__(self, protocol: Subscriber, room: float = float("inf")) -> None:
        super().__init__()
        self.protocol = protocol
        self.room = room
        self.sent = bytearray()
        """Bytes that the peer has accepted since the last call of `take`."""
        self.buffer = bytearray()
        """Bytes that the peer has not accepted yet."""
        self.largest = 0
        """The largest size of `buffer` so far."""
        self.writes = 0
        self.reading = True
        self.eof = False
        self.aborted = False
        self.on_write: Callable[[], None] = lambda: None
        """Called at the start of every write."""
        self._closing = False
        self._lost = False
        self._paused = False
        protocol.connection_made(self)

    def take(self) -> bytes:
        """Return the bytes that the peer has accepted since the last call."""
        taken = bytes(self.sent)
        self.sent.clear()
        return taken

    def accept(self, room: float = float("inf")) -> None:
        """Let the peer accept `room` more bytes."""
        self.room += room
        self._flush()

    def lose(self) -> None:
        """Break the connection."""
        self.abort()

    def write(self, data: Any) -> None:
        assert not self.eof, "write after write_eof"
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
        assert not self._lost, "write_eof after the end"
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
