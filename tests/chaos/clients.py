"""The clients of the chaos test: they come, go, resume and read slowly."""

import asyncio
import contextlib
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.checker import Connected, Gap, History, Post, Received
from tests.support import free_port

CLIENTS = 100
SLOW = 0.05
"""The part of them that reads slowly."""

TOPICS = ("main", "news", "builds")
BUFFER = 8192
"""Bytes that a client reads ahead; every event is shorter."""

STAY = 2.0
"""Seconds that a client stays connected, on average."""


@dataclass(slots=True)
class World:
    """What the clients and the publisher share: where the server is, and what is true."""

    random: random.Random
    port: int = field(default_factory=free_port)
    generation: int = 0
    unclean: set[int] = field(default_factory=set)
    posts: list[Post] = field(default_factory=list)
    histories: list[History] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)
    """The id after which nothing comes, for each topic, once it is over."""


class Client:
    """One after another, connections to one topic, each resuming where the one before ended."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._number = number
        self._random = random.Random(world.random.random())
        self._slow = number < CLIENTS * SLOW
        self._sse = number % 2 == 0
        self._topic = TOPICS[number // 2 % len(TOPICS)]
        self._seen: int | None = None
        self._begin()

    def _begin(self) -> None:
        kind = ("slow " if self._slow else "") + ("SSE" if self._sse else "WebSocket")
        self._history = History(f"client {self._number} ({kind})", self._topic)
        self._world.histories.append(self._history)
        self._seen = None

    async def run(self) -> None:
        """Until it has seen the last notification there is."""
        while not self._done():
            if self._seen is not None and not self._world.last and self._random.random() < 0.05:
                self._begin()  # a new client takes the place
            with contextlib.suppress(OSError, EOFError):
                async with asyncio.timeout(None) as stay, self._connection() as reader:
                    stay.reschedule(self._leaving_time())
                    await self._listen(reader)
            await asyncio.sleep(self._random.uniform(0, 0.3))
        self._history.to_the_end = True

    def _leaving_time(self) -> float | None:
        if self._world.last:
            return None
        stay = self._random.expovariate(1 / (STAY * 3 if self._slow else STAY))
        return asyncio.get_running_loop().time() + stay

    def _done(self) -> bool:
        last = self._world.last.get(self._topic)
        return last is not None and self._seen is not None and self._seen >= last

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncio.StreamReader]:
        """A connection on which the server has answered; dropped at the end without a word."""
        connection = socket.socket()
        if self._slow:  # else the kernel alone would hold more than the whole run brings
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
        connection.setblocking(False)
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, ("127.0.0.1", self._world.port))
        except BaseException:
            connection.close()
            raise
        reader, writer = await asyncio.open_connection(sock=connection, limit=BUFFER)
        try:
            generation = self._world.generation
            writer.write(self._request())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 200 ")):
                assert head.startswith(b"HTTP/1.1 503 "), head
                raise ConnectionRefusedError
            moment = time.monotonic()
            self._history.events.append(Connected(generation, self._seen, moment))
            yield reader
        finally:
            writer.transport.abort()

    def _request(self) -> bytes:
        path = "/events?" if self._sse else "/ws?format=json&"
        path += f"topic={self._topic}"
        headers = ["Host: 127.0.0.1"]
        if self._seen is not None and self._sse and self._random.random() < 0.5:
            headers.append(f"Last-Event-ID: {self._seen}")
        elif self._seen is not None:
            path += f"&since={self._seen}"
        if not self._sse:
            headers += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
            headers.append("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        return "\r\n".join([f"GET {path} HTTP/1.1", *headers, "", ""]).encode()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        read = read_event if self._sse else read_frame
        while not self._done():
            self._take(await read(reader))
            if self._slow and not self._world.last and self._random.random() < 0.03:
                await asyncio.sleep(self._random.uniform(0.5, 4))

    def _take(self, document: Mapping[str, Any]) -> None:
        if document["type"] == "gap":
            self._history.events.append(Gap(document["missed"]))
            return
        assert document["type"] == "notification", document
        assert document["topic"] == self._topic, document
        self._seen = int(document["id"])
        self._history.events.append(Received(self._seen, document["message"].partition(" ")[0]))


async def read_event(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next server-sent event. Raises EOFError at the end."""
    while True:
        lines = (await reader.readuntil(b"\n\n")).decode().splitlines()
        fields = dict(line.partition(": ")[::2] for line in lines if not line.startswith(":"))
        if "data" in fields:
            document: dict[str, Any] = json.loads(fields["data"])
            assert fields.get("event") == ("gap" if document["type"] == "gap" else None), lines
            assert fields.get("id") == document.get("id"), lines
            return document


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next WebSocket message. Raises EOFError when the server closes."""
    while True:
        first, second = await reader.readexactly(2)
        length = second
        if second >= 126:
            length = int.from_bytes(await reader.readexactly(2 if second == 126 else 8))
        payload = await reader.readexactly(length)
        if first == 0x81:
            document: dict[str, Any] = json.loads(payload)
            return document
        if first == 0x88:
            assert payload[:2] == (1012).to_bytes(2), payload
            raise EOFError
