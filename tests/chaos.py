"""Clients that come, go, resume and read slowly, a publisher, and the faults in between."""

import asyncio
import contextlib
import json
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.chaos_checker import Connected, Gap, History, Post, Received, Truth, problems
from tests.support import MemcachedProcess, ServerProcess, eventually, free_port, running_server

CLIENTS = 100
SLOW = 0.05
"""The part of them that reads slowly."""

TOPICS = ("main", "news", "builds")
RATE = 200
"""Notifications a second, over all topics."""

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


class Publisher:
    """POSTs at an even rate, whatever becomes of each."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._count = 0
        self._over = False

    async def run(self) -> None:
        """Until `stop`; then every POST has its answer."""
        start = time.monotonic()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            async with asyncio.TaskGroup() as group:
                while not self._over:
                    group.create_task(self.post(session, self._world.random.choice(TOPICS)))
                    await asyncio.sleep(max(0, start + self._count / RATE - time.monotonic()))

    def stop(self) -> None:
        """Publish no more."""
        self._over = True

    async def post(self, session: aiohttp.ClientSession, topic: str) -> int | None:
        """One notification, of some bytes to a few thousand; its id, if it was answered."""
        self._count += 1
        message = f"{self._count}"
        padding = self._world.random.choice([0, 50, 200, 3000])
        generation, moment = self._world.generation, time.monotonic()
        id = None
        url = f"http://127.0.0.1:{self._world.port}/notifications?topic={topic}"
        try:
            async with session.post(url, data=f"{message} {'x' * padding}") as response:
                if response.status == 503:
                    return None
                assert response.status == 201, await response.text()
                id = int((await response.json())["id"])
        except aiohttp.ClientConnectorError:
            return None
        except (aiohttp.ClientError, OSError):
            pass  # it may have been published or not
        self._world.posts.append(Post(topic, message, generation, moment, id))
        return id


class Server:
    """The server's process, and memcached's, and what can happen to both."""

    def __init__(
        self, world: World, memcached: MemcachedProcess, environment: Mapping[str, str]
    ) -> None:
        self._world = world
        self._memcached = memcached
        self._environment = {
            "MEMCACHED_HOST": f"127.0.0.1:{memcached.port}",
            "AIONOTIFY_SHUTDOWN_GRACE": "1",
            **environment,
        }
        self._stack = AsyncExitStack()
        self._process: ServerProcess
        self._alive = True

    async def start(self) -> None:
        """A process on the port that they all have."""
        port = str(self._world.port)
        context = running_server(self._environment, "--port", port)
        self._process = await self._stack.enter_async_context(context)

    async def close(self) -> None:
        """End what runs."""
        await self._stack.aclose()

    async def terminate(self) -> None:
        """A clean restart."""
        await self._restart(signal.SIGTERM)

    async def kill(self) -> None:
        """A crash, and a new start."""
        await self._restart(signal.SIGKILL)

    async def memcached_dies(self) -> None:
        """It forgets everything; or comes back, if it was dead."""
        if self._alive:
            self._alive = False
            self._memcached.kill()
            await eventually(lambda: not self.connected(), 5, "the server lost memcached")
        else:
            await asyncio.to_thread(self._memcached.start)
            self._alive = True

    def connected(self) -> bool:
        """Whether the process has said last that memcached has everything."""
        output = self._process.output()
        lost = max(map(output.rfind, ("lost memcached at", "no memcached answers")))
        return output.rfind("recents are kept in memcached at") > lost

    async def _restart(self, number: int) -> None:
        clean = number == signal.SIGTERM and self._alive and self.connected()
        if not clean:
            self._world.unclean.add(self._world.generation)
        status = await self._process.stop(number)
        assert status == (0 if number == signal.SIGTERM else -number), self._process.output()
        self._check_output()
        await self._stack.aclose()
        self._world.generation += 1
        await self.start()

    def _check_output(self) -> None:
        output = self._process.output()
        assert "Traceback" not in output, output
        assert "Task exception" not in output, output


async def chaos(seed: int, seconds: float, memcached: MemcachedProcess) -> list[str]:
    """A run of about `seconds`. What was wrong with it, each with the client's history."""
    world = World(random.Random(seed))
    environment = {
        "AIONOTIFY_RECENT_LIMIT": world.random.choice(["5", "200"]),
        "AIONOTIFY_LOG_LIMIT": world.random.choice(["50", "50", "1000"]),
    }
    server = Server(world, memcached, environment)
    await server.start()
    try:
        async with asyncio.timeout(seconds + 30), asyncio.TaskGroup() as group:
            publisher = Publisher(world)
            publishing = group.create_task(publisher.run())
            for number in range(CLIENTS):
                group.create_task(Client(world, number).run())
            await _faults(world, server, time.monotonic() + seconds)
            publisher.stop()
            await publishing
            await _end(world, publisher)
    finally:
        await server.close()
    return _judge(world)


async def _faults(world: World, server: Server, end: float) -> None:
    """Every fault at least once, in any order."""
    faults = [server.terminate, server.kill, server.memcached_dies, server.memcached_dies]
    more = [server.terminate, *faults]
    world.random.shuffle(faults)
    while faults or time.monotonic() < end:
        await asyncio.sleep(world.random.uniform(0.3, 2.5))
        fault = faults.pop() if faults else world.random.choice(more)
        await fault()
    await asyncio.sleep(world.random.uniform(0.3, 1))


async def _end(world: World, publisher: Publisher) -> None:
    """The last notification of each topic; who has seen it is done."""
    async with aiohttp.ClientSession() as session:
        last = {topic: await publisher.post(session, topic) for topic in TOPICS}
    world.last = {topic: id for topic, id in last.items() if id is not None}
    assert len(world.last) == len(TOPICS)


def _judge(world: World) -> list[str]:
    truth = Truth(world.posts, world.histories, world.unclean)
    found = []
    for history in world.histories:
        for problem in problems(history, truth):
            found.append(f"{problem}\n  its history: {_shown(history)}")
    return found + _too_quiet(world)


def _too_quiet(world: World) -> list[str]:
    """A run in which little happened shows nothing."""
    events = [event for history in world.histories for event in history.events]
    counts = {
        kind.__name__: sum(isinstance(each, kind) for each in events)
        for kind in (Connected, Gap, Received)
    }
    counts["exact gaps"] = sum(isinstance(each, Gap) and each.missed is not None for each in events)
    print(f"{len(world.posts)} posts, {world.generation + 1} processes, {counts}")
    return [] if counts["Gap"] and counts["Received"] else [f"too little happened: {counts}"]


def _shown(history: History) -> str:
    """A history in short: of each run of notifications, the first and the last."""
    lines: list[str] = []
    previous = following = None
    events = [None, *history.events, None]
    for previous, event, following in zip(events, events[1:], events[2:], strict=False):
        if all(isinstance(each, Received) for each in (previous, event, following)):
            if lines[-1] != "…":
                lines.append("…")
        else:
            lines.append(str(event))
    return "\n    ".join(lines)
