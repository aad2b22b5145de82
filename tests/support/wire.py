"""The way from a browser to the server, which can be cut, or go silent without any notice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Wire:
    """A TCP proxy with two faults. A server cannot be made to show them by itself."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._down = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._subscribers: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Reset all connections, and refuse new ones until `mend`."""
        self._down = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Accept connections again."""
        self._down = False

    def silence_subscribers(self) -> None:
        """Transmit nothing more on WebSockets and streams open now; they go on looking open."""
        self._silent |= self._subscribers

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a connection in both directions until it ends."""
        if self._down:
            writer.transport.abort()
            return
        ends = {writer}
        self._writers.add(writer)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
            ends.add(there_writer)
            self._writers.add(there_writer)
            head = await reader.readuntil(b"\r\n\r\n")
            if b"Upgrade: websocket" in head or head.startswith(b"GET /events"):
                self._subscribers |= ends
            there_writer.write(head)
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))
        except (OSError, EOFError):
            pass  # the end of a connection, by either side or by `cut`
        finally:
            self._writers -= ends
            for each in ends:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if writer not in self._silent:
                writer.write(data)
                await writer.drain()
        raise EOFError


@asynccontextmanager
async def wire(target: int) -> AsyncIterator[Wire]:
    """Forward a free port to the port `target` of this machine."""
    made = Wire(target)
    async with await asyncio.start_server(made.connect, "127.0.0.1", 0) as listening:
        made.port = listening.sockets[0].getsockname()[1]
        try:
            yield made
        finally:
            made.cut()
