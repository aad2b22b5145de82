"""A publisher, and the faults that come between it and the clients."""

import asyncio
import random
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

import aiohttp

from tests.chaos.checker import Connected, Gap, History, Post, Received, Truth, problems
from tests.chaos.clients import CLIENTS, TOPICS, Client, World
from tests.support import MemcachedProcess, ServerProcess, eventually, running_server

RATE = 200
"""Notifications a second, over all topics."""


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
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
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
        "AIONOTIFY_HISTORY_LIMIT": world.random.choice(["50", "50", "1000"]),
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
