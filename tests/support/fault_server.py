"""A memcached that fails on demand, for faults that a real one cannot be made to show."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

PROBE_KEY = b"aionotify:1:probe"
"""The key with which the server probes whether a memcached answers."""

STORING = (b"set", b"add", b"cas")
"""Commands that are followed by a value."""

CHUNK = 64 * 1024
"""Bytes that an endless response sends at a time."""


@dataclass
class Command:
    """A received command, and the connection for its response."""

    server: "FakeMemcached"
    words: list[bytes]
    data: bytes
    writer: asyncio.StreamWriter

    @property
    def name(self) -> bytes:
        """The name of the command: `gets`, `cas`…"""
        return self.words[0]

    @property
    def key(self) -> bytes:
        """The key, empty for a command without one."""
        return self.words[1] if len(self.words) > 1 else b""

    async def answer(self, answer: bytes) -> None:
        """Send `answer` as it is. Raise ConnectionError if the client has disconnected."""
        self.server.sent += len(answer)
        if self.server.latency:
            self.server.send_later(self.writer, answer)
            return
        self.writer.write(answer)
        await self.writer.drain()
        # `drain` goes on at once while the kernel takes everything, which is megabytes: an endless
        # fault would block the event loop that it shares with the server.
        await asyncio.sleep(0)


Fault = Callable[[Command], Awaitable[None]]
"""Handles a command in place of `FakeMemcached.obey`."""


class FakeMemcached:
    """The part of memcached that aionotify uses, with an optional `fault`.

    `fault` can be changed at any time. It does not apply to the probes at start with `spare_probe`,
    nor to the commands named in `spared`.
    """

    def __init__(
        self,
        fault: Fault | None = None,
        *,
        spare_probe: bool = False,
        spared: tuple[bytes, ...] = (),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.fault = fault
        self.spare_probe = spare_probe
        self.spared = spared
        self.host = host
        self.port = port
        self.commands: list[bytes] = []
        """The first line of every command received."""
        self.connected: list[float] = []
        """The monotonic time at which each connection was accepted."""
        self.values: dict[bytes, tuple[bytes, int]] = {}
        """The stored values, each with the `cas` token of its last change."""
        self.sent = 0
        """Bytes sent to clients."""
        self.latency = 0.0
        """Seconds until a response arrives, however many commands are under way."""
        self._sent_until = 0.0
        self._changes = 0
        self._conversations: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, limit=4 * 1024 * 1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._conversations:
            task.cancel()
        if self._conversations:
            await asyncio.wait(self._conversations)
        await self._server.wait_closed()

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return len(self._conversations)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.append(time.monotonic())
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while line := await reader.readline():
                    words = line.split()
                    self.commands.append(line.strip())
                    storing = words[0] in STORING
                    data = (await reader.readexactly(int(words[4]) + 2))[:-2] if storing else b""
                    command = Command(self, words, data, writer)
                    await (self._fault_for(command) or self.obey)(command)
        finally:
            writer.transport.abort()

    def _fault_for(self, command: Command) -> Fault | None:
        if command.name in self.spared or (self.spare_probe and command.key == PROBE_KEY):
            return None
        return self.fault

    def send_later(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        """Send `answer` after `latency` seconds, in order."""
        loop = asyncio.get_running_loop()
        self._sent_until = max(loop.time() + self.latency, self._sent_until + 1e-6)
        loop.call_at(self._sent_until, writer.write, answer)

    async def obey(self, command: Command) -> None:
        """Handle `command` as memcached does."""
        found = self.values.get(command.key)
        if command.name == b"gets":
            answer = b""
            for key in command.words[1:]:
                if key in self.values:
                    value, token = self.values[key]
                    head = b"VALUE %b 0 %d %d\r\n" % (key, len(value), token)
                    answer += head + value + b"\r\n"
            await command.answer(answer + b"END\r\n")
        elif command.name == b"delete":
            removed = self.values.pop(command.key, None)
            await command.answer(b"DELETED\r\n" if removed else b"NOT_FOUND\r\n")
        elif command.name == b"version":
            await command.answer(b"VERSION 1.6.0\r\n")
        elif command.name == b"add" and found is not None:
            await command.answer(b"NOT_STORED\r\n")
        elif command.name == b"cas" and found is None:
            await command.answer(b"NOT_FOUND\r\n")
        elif command.name == b"cas" and found is not None and int(command.words[5]) != found[1]:
            await command.answer(b"EXISTS\r\n")
        elif command.name in STORING:
            self._changes += 1
            self.values[command.key] = command.data, self._changes
            await command.answer(b"STORED\r\n")
        else:
            await command.answer(b"ERROR\r\n")


async def closes(command: Command) -> None:
    """Close the connection after the command."""
    raise ConnectionResetError


async def closes_in_the_answer(command: Command) -> None:
    """Close the connection in the middle of the response."""
    half = b"VALUE " + command.key + b" 0 100 1\r\nhal" if command.name == b"gets" else b"STO"
    await command.answer(half)
    raise ConnectionResetError


async def never_answers(command: Command) -> None:
    """Accept every command, and send nothing."""


async def stops_in_the_answer(command: Command) -> None:
    """Send half of the response, and nothing more."""
    half = b"VALUE " + command.key + b" 0 100 1\r\nhal" if command.name == b"gets" else b"STO"
    await command.answer(half)


async def garbage(command: Command) -> None:
    """Send bytes that do not belong to the protocol."""
    await command.answer(b"\x00\xff\xfeHTTP/1.1 400 Bad Request\r\n\r\n\x1b[31m\r\n")


async def empty_lines(command: Command) -> None:
    """Send empty lines."""
    await command.answer(b"\r\n\r\n\r\n")


async def errors(command: Command) -> None:
    """Send `ERROR`, as for an unknown command."""
    await command.answer(b"ERROR\r\n")


async def refuses_values(command: Command) -> None:
    """Refuse every value for lack of memory."""
    if command.name in STORING:
        await command.answer(b"SERVER_ERROR out of memory storing object\r\n")
    else:
        await command.server.obey(command)


async def always_conflicts(command: Command) -> None:
    """Claim that every value was changed since it was read."""
    if command.name in (b"cas", b"add"):
        await command.answer(b"EXISTS\r\n")
    else:
        await command.server.obey(command)


async def nonsense_numbers(command: Command) -> None:
    """Announce a length that is not a number."""
    await command.answer(b"VALUE " + command.key + b" zero minus-one 1\r\nx\r\nEND\r\n")


async def negative_length(command: Command) -> None:
    """Announce a negative length."""
    await command.answer(b"VALUE " + command.key + b" 0 -7 1\r\nx\r\nEND\r\n")


async def no_token(command: Command) -> None:
    """Leave out the `cas` token."""
    await command.answer(b"VALUE " + command.key + b" 0 1\r\nx\r\nEND\r\n")


async def another_key(command: Command) -> None:
    """Send the value of another key."""
    await command.answer(b"VALUE aionotify:1:recent:other 0 2 1\r\n{}\r\nEND\r\n")


async def endless_line(command: Command) -> None:
    """Send a line without an end."""
    while True:
        await command.answer(b"x" * CHUNK)


async def endless_value(command: Command) -> None:
    """Announce a value of 64 GiB, and start to send it."""
    await command.answer(b"VALUE " + command.key + b" 0 68719476736 1\r\n")
    while True:
        await command.answer(b"x" * CHUNK)


async def endless_values(command: Command) -> None:
    """Send values without an end, each under another key."""
    number = 0
    while True:
        batch = range(number, number + 1000)
        number += 1000
        await command.answer(b"".join(b"VALUE k%d 0 1 1\r\nx\r\n" % each for each in batch))


async def says_stored_forever(command: Command) -> None:
    """Repeat the response without an end."""
    while True:
        await command.answer(b"END\r\nSTORED\r\n" * 4000)


FAULTS: tuple[Fault, ...] = (
    closes,
    closes_in_the_answer,
    never_answers,
    stops_in_the_answer,
    garbage,
    empty_lines,
    errors,
    nonsense_numbers,
    negative_length,
    endless_line,
    endless_value,
    endless_values,
)
"""The faults that make every command fail."""
