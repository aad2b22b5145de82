"""A memcached that misbehaves on demand, for faults that a real one cannot be made to show."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

PROBE_KEY = b"aionotify:1:probe"

STORING = (b"set", b"add", b"cas")
CHUNK = 64 * 1024


@dataclass
class Command:
    """One command as it came in, and where its answer goes."""

    server: "FakeMemcached"
    words: list[bytes]
    data: bytes
    writer: asyncio.StreamWriter

    @property
    def name(self) -> bytes:
        """What is to be done: `get`, `cas`…"""
        return self.words[0]

    @property
    def key(self) -> bytes:
        """What it is about; nothing for `version`."""
        return self.words[1] if len(self.words) > 1 else b""

    async def answer(self, answer: bytes) -> None:
        """Send bytes back, whatever they are. ConnectionError once the client is gone."""
        self.server.sent += len(answer)
        self.writer.write(answer)
        await self.writer.drain()


Fault = Callable[[Command], Awaitable[None]]
"""Deals with a command in place of the memcached that the fake otherwise is."""


class FakeMemcached:
    """As much of a memcached as aionotify speaks to, with an optional `fault`.

    `fault` can be changed at any time. `spare_probe` leaves the probing of hosts without fault, and
    `spared` are further commands, by name, that are carried out as they should be.
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
        """The first line of every command that came in."""
        self.connected: list[float] = []
        """When each connection was made, by the monotonic clock."""
        self.values: dict[bytes, tuple[bytes, int]] = {}
        """What is stored, with the token of its last change."""
        self.sent = 0
        """Bytes that clients were sent."""
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
        """How many clients have not closed theirs."""
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

    async def obey(self, command: Command) -> None:
        """What a memcached would do."""
        found = self.values.get(command.key)
        if command.name == b"gets":
            if found is not None:
                value, token = found
                head = b"VALUE %b 0 %d %d\r\n" % (command.key, len(value), token)
                await command.answer(head + value + b"\r\n")
            await command.answer(b"END\r\n")
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
    """Hangs up once the command is there."""
    raise ConnectionResetError


async def closes_in_the_answer(command: Command) -> None:
    """Hangs up with half an answer given."""
    half = b"VALUE " + command.key + b" 0 100 1\r\nhal" if command.name == b"gets" else b"STO"
    await command.answer(half)
    raise ConnectionResetError


async def never_answers(command: Command) -> None:
    """Takes every command, and is silent."""


async def stops_in_the_answer(command: Command) -> None:
    """Gives half an answer, and is silent from then on."""
    half = b"VALUE " + command.key + b" 0 100 1\r\nhal" if command.name == b"gets" else b"STO"
    await command.answer(half)


async def garbage(command: Command) -> None:
    """Answers what is not of the protocol."""
    await command.answer(b"\x00\xff\xfeHTTP/1.1 400 Bad Request\r\n\r\n\x1b[31m\r\n")


async def empty_lines(command: Command) -> None:
    """Answers with nothing but ends of lines."""
    await command.answer(b"\r\n\r\n\r\n")


async def errors(command: Command) -> None:
    """Knows no command."""
    await command.answer(b"ERROR\r\n")


async def refuses_values(command: Command) -> None:
    """Has no memory left, which is the answer to every value."""
    if command.name in STORING:
        await command.answer(b"SERVER_ERROR out of memory storing object\r\n")
    else:
        await command.server.obey(command)


async def nonsense_numbers(command: Command) -> None:
    """Declares lengths that are no numbers."""
    await command.answer(b"VALUE " + command.key + b" zero minus-one 1\r\nx\r\nEND\r\n")


async def negative_length(command: Command) -> None:
    """Declares a length below nothing."""
    await command.answer(b"VALUE " + command.key + b" 0 -7 1\r\nx\r\nEND\r\n")


async def no_token(command: Command) -> None:
    """Leaves out what `cas` needs."""
    await command.answer(b"VALUE " + command.key + b" 0 1\r\nx\r\nEND\r\n")


async def another_key(command: Command) -> None:
    """Answers what was not asked for."""
    await command.answer(b"VALUE aionotify:1:recent:other 0 2 1\r\n{}\r\nEND\r\n")


async def endless_line(command: Command) -> None:
    """Sends a line that has no end."""
    while True:
        await command.answer(b"x" * CHUNK)


async def endless_value(command: Command) -> None:
    """Declares 64 GiB, and begins to send them."""
    await command.answer(b"VALUE " + command.key + b" 0 68719476736 1\r\n")
    while True:
        await command.answer(b"x" * CHUNK)


async def endless_values(command: Command) -> None:
    """Sends value after value, each under a key of its own."""
    number = 0
    while True:
        batch = range(number, number + 1000)
        number += 1000
        await command.answer(b"".join(b"VALUE k%d 0 1 1\r\nx\r\n" % each for each in batch))


async def says_stored_forever(command: Command) -> None:
    """Answers once what was asked, and then goes on answering."""
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
"""Those that no command survives."""
