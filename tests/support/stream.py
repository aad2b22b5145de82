"""The body of an event stream, with or without chunks, as a test reads it."""

import asyncio


class Body:
    """What the chunks of a response carry (RFC 9112 §7.1), or the response without chunks.

    Has the methods of `asyncio.StreamReader`. Nothing waits longer than five seconds.
    """

    def __init__(self, reader: asyncio.StreamReader, *, chunked: bool) -> None:
        self.chunks: list[bytes] = []
        """All chunks, or reads, so far."""
        self.complete = False
        """Whether the last chunk has come."""
        self._reader = reader
        self._chunked = chunked
        self._buffer = b""

    async def readexactly(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        while len(self._buffer) < count:
            await self._fill()
        return self._take(count)

    async def readuntil(self, end: bytes) -> bytes:
        """Return everything up to `end`, and `end`."""
        while end not in self._buffer:
            await self._fill()
        return self._take(self._buffer.index(end) + len(end))

    async def read(self) -> bytes:
        """Return everything up to the end of the response."""
        try:
            while True:
                await self._fill()
        except asyncio.IncompleteReadError:
            return self._take(len(self._buffer))

    async def _fill(self) -> None:
        data = await asyncio.wait_for(self._next(), 5)
        if not data:
            raise asyncio.IncompleteReadError(self._buffer, None)
        self.chunks.append(data)
        self._buffer += data

    async def _next(self) -> bytes:
        if not self._chunked:
            return await self._reader.read(65536)
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        data = await self._reader.readexactly(size)
        assert await self._reader.readexactly(2) == b"\r\n"
        self.complete = self.complete or not size
        return data

    def _take(self, count: int) -> bytes:
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken
