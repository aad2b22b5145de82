"""The clients of the chaos test: they connect, leave, resume and read slowly."""

import asyncio
import contextlib
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.checker import Connected, Gap, Post, Received, Subscribed, Transcript
from tests.support import free_port
from tests.support.raw_client import handshake

CLIENTS = 100
SLOW = 0.05
"""The share of clients that read slowly."""

TOPICS = ("main", "news", "builds")
BUFFER = 8192
"""Bytes that a client reads ahead. Every event is shorter."""

STAY = 2.0
"""Seconds that a client stays connected, on average. Slow clients stay three times as long."""

NEW = 0.05
"""How probable it is that a new client takes the place of one that left."""

PAUSE = 0.03
"""How probable it is that a slow client stops reading after an event, for some seconds."""


@dataclass(slots=True)
class World:
    """The state that clients, publisher and server share."""

    random: random.Random
    ports: list[int] = field(default_factory=lambda: [free_port()])
    """The ports of the nodes, also after a restart. A client connects to any of them."""
    generation: int = 0
    """The number of restarts so far; with several nodes, of streams that were deleted."""
    after_gap: int = 0
    """See `Gap.generation`."""
    unclean: set[int] = field(default_factory=set)
    """See `Truth.unclean`."""
    posts: list[Post] = field(default_factory=list)
    transcripts: list[Transcript] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)
    """The id of the last notification of each topic. Empty until publishing is over."""


class Client:
    """Connects to one topic again and again, and resumes where the last connection ended.

    Its position is the last id that it was sent, as in an EventSource.
    """

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._number = number
        self._random = random.Random(world.random.random())
        self._slow = number < CLIENTS * SLOW
        self._sse = number % 2 == 0
        self._topic = TOPICS[number // 2 % len(TOPICS)]
        self._position: int | None = None
        """From which it resumes: the last id that the server stated. None for a new client."""
        self._subscribed = False
        """Whether the present connection has caught up."""
        self._begin()

    def _begin(self) -> None:
        kind = ("slow " if self._slow else "") + ("SSE" if self._sse else "WebSocket")
        self._transcript = Transcript(f"client {self._number} ({kind})", self._topic)
        self._world.transcripts.append(self._transcript)
        self._position = None

    async def run(self) -> None:
        """Run until the client has received the last notification of its topic."""
        while not self._done():
            if self._position is not None and not self._world.last and self._random.random() < NEW:
                self._begin()
            with contextlib.suppress(OSError, EOFError):
                async with asyncio.timeout(None) as stay, self._connection() as reader:
                    stay.reschedule(self._leaving_time())
                    await self._listen(reader)
            await asyncio.sleep(self._random.uniform(0, 0.3))
        self._transcript.to_the_end = True

    def _leaving_time(self) -> float | None:
        if self._world.last:
            return None
        stay = self._random.expovariate(1 / (STAY * 3 if self._slow else STAY))
        return asyncio.get_running_loop().time() + stay

    def _done(self) -> bool:
        last = self._world.last.get(self._topic)
        return last is not None and self._position is not None and self._position >= last

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncio.StreamReader]:
        """Connect and send the request. The connection is aborted when the block ends."""
        connection = socket.socket()
        if self._slow:
            # With default buffers, the kernel alone would hold more than a run sends to a client.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
        connection.setblocking(False)
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(
                connection, ("127.0.0.1", self._random.choice(self._world.ports))
            )
        except BaseException:
            connection.close()
            raise
        reader, writer = await asyncio.open_connection(sock=connection, limit=BUFFER)
        try:
            generation, self._subscribed = self._world.generation, False
            writer.write(self._request())
            head = await reader.readuntil(b"\r\n\r\n")
            status = head.split()[1]
            if status not in (b"101", b"200"):
                assert status == b"503", head
                raise ConnectionRefusedError
            moment = time.monotonic()
            self._transcript.events.append(Connected(generation, self._position, moment))
            yield reader
        finally:
            writer.transport.abort()

    def _request(self) -> bytes:
        since = f"&since={self._position}" if self._position is not None else ""
        if not self._sse:
            return handshake(f"/ws?format=json&topic={self._topic}{since}")
        header = ""
        if since and self._random.random() < 0.5:
            since, header = "", f"Last-Event-ID: {self._position}\r\n"
        path = f"/events?topic={self._topic}{since}"
        # 1.0: a stream without chunks, so that the client reads events.
        return f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{header}\r\n".encode()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        read = read_event if self._sse else read_frame
        while not self._done():
            self._record(await read(reader))
            if self._slow and not self._world.last and self._random.random() < PAUSE:
                await asyncio.sleep(self._random.uniform(0.5, 4))

    def _record(self, document: Mapping[str, Any]) -> None:
        self._position = int(document["id"])
        event: Gap | Received | Subscribed
        match document["type"]:
            case "gap":
                after_gap, moment = self._world.after_gap, time.monotonic()
                event = Gap(document["missed"], self._position, after_gap, moment)
            case "subscribed":
                assert document["topics"] == [self._topic], document
                event, self._subscribed = Subscribed(self._position), True
            case kind:
                assert (kind, document["topic"]) == ("notification", self._topic), document
                assert ("recent" in document) != self._subscribed, document
                event = Received(self._position, document["message"].partition(" ")[0])
        self._transcript.events.append(event)


async def read_event(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Return the data of the next server-sent event. Raises EOFError when the server closes."""
    while True:
        lines = (await reader.readuntil(b"\n\n")).decode().splitlines()
        fields = dict(line.partition(": ")[::2] for line in lines if not line.startswith(":"))
        if "data" in fields:
            document: dict[str, Any] = json.loads(fields["data"])
            assert fields.get("event", "notification") == document["type"], lines
            assert fields["id"] == document["id"], lines
            return document


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Return the next WebSocket message. Raises EOFError when the server closes."""
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
