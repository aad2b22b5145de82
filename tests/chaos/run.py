"""The chaos run: a publisher, a server, and the faults between them."""

import asyncio
import random
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

import aiohttp

from tests.chaos.checker import (
    Connected,
    Gap,
    Post,
    Received,
    Subscribed,
    Transcript,
    Truth,
    problems,
)
from tests.chaos.clients import CLIENTS, TOPICS, Client, World
from tests.support import (
    MemcachedProcess,
    ServerProcess,
    eventually,
    log_lines,
    running_server,
)
from tests.support.environment import with_memcached

RATE = 200
"""Notifications per second, over all topics."""

SETTLE = 30
"""Seconds that clients may take to receive the last notification once all faults are over."""


class Publisher:
    """Sends POST requests at an even rate, without waiting for their responses."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.count = 0
        """The number of requests so far."""
        self._over = False

    async def run(self) -> None:
        """Run until `stop`, and until every request has succeeded or failed."""
        start = time.monotonic()
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            while not self._over:
                group.create_task(self.post(session, self.world.random.choice(TOPICS)))
                await asyncio.sleep(max(0, start + self.count / RATE - time.monotonic()))

    def stop(self) -> None:
        """Stop publishing."""
        self._over = True

    def next_message(self) -> tuple[str, str]:
        """Return the next number as text, and a notification of up to 3 kB that begins with it."""
        self.count += 1
        padding = self.world.random.choice([0, 50, 200, 3000])
        return f"{self.count}", f"{self.count} {'x' * padding}"

    async def post(self, session: aiohttp.ClientSession, topic: str) -> int | None:
        """Publish a notification. Return its id, or None without a response."""
        message, data = self.next_message()
        generation, moment = self.world.generation, time.monotonic()
        id = None
        url = f"http://127.0.0.1:{self.world.ports[0]}/notifications?topic={topic}"
        try:
            async with session.post(url, data=data) as response:
                if response.status == 503:
                    return None
                assert response.status == 201, await response.text()
                id = int((await response.json())["id"])
        except aiohttp.ClientConnectorError:
            return None
        except (aiohttp.ClientError, OSError):
            pass  # It may have been published or not: the post is recorded without an id.
        self.world.posts.append(Post(topic, message, generation, moment, id))
        return id


class Server:
    """The processes of the server and of memcached, and the faults of both."""

    def __init__(
        self, world: World, memcached: MemcachedProcess, environment: Mapping[str, str]
    ) -> None:
        self._world = world
        self._memcached = memcached
        self._environment = with_memcached(memcached, AIONOTIFY_SHUTDOWN_GRACE="1", **environment)
        self._stack = AsyncExitStack()
        self._process: ServerProcess
        self._memcached_alive = True

    async def start(self) -> None:
        """Start a process on the port that all of them use."""
        port = str(self._world.ports[0])
        context = running_server(self._environment, "--port", port)
        self._process = await self._stack.enter_async_context(context)

    async def close(self) -> None:
        """Kill the process if it runs."""
        await self._stack.aclose()

    async def terminate(self) -> None:
        """Restart the server cleanly."""
        await self._restart(signal.SIGTERM)

    async def kill(self) -> None:
        """Kill the server, and start it again."""
        await self._restart(signal.SIGKILL)

    async def toggle_memcached(self) -> None:
        """Kill memcached, with everything it has; if it was killed before, start it again."""
        if self._memcached_alive:
            self._memcached_alive = False
            self._memcached.kill()
            await eventually(lambda: not self.connected(), 5, "the server lost memcached")
        else:
            await asyncio.to_thread(self._memcached.start)
            self._memcached_alive = True

    def connected(self) -> bool:
        """Return whether the last log line about memcached says that it has everything."""
        output = self._process.output()
        lost = max(map(output.rfind, (log_lines.LOST, log_lines.UNAVAILABLE)))
        return output.rfind(log_lines.CONNECTED) > lost

    async def _restart(self, number: int) -> None:
        clean = number == signal.SIGTERM and self._memcached_alive and self.connected()
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
    """Run for about `seconds`. Return every broken promise, with the transcript of the client."""
    world = World(random.Random(seed))
    environment = {
        "AIONOTIFY_RECENT_LIMIT": world.random.choice(["5", "200"]),
        "AIONOTIFY_HISTORY_LIMIT": world.random.choice(["50", "50", "1000"]),
    }
    server = Server(world, memcached, environment)
    await server.start()
    try:
        async with asyncio.timeout(seconds + SETTLE), asyncio.TaskGroup() as group:
            publisher = Publisher(world)
            publishing = group.create_task(publisher.run())
            for number in range(CLIENTS):
                group.create_task(Client(world, number).run())
            await _faults(world, server, time.monotonic() + seconds)
            publisher.stop()
            await publishing
            await publish_last(world, publisher)
    finally:
        await server.close()
    return judge(world, Truth(world.posts, world.transcripts, world.unclean))


async def _faults(world: World, server: Server, end: float) -> None:
    """Let every fault happen at least once, in random order."""
    faults = [server.terminate, server.kill, server.toggle_memcached, server.toggle_memcached]
    more = [server.terminate, *faults]
    world.random.shuffle(faults)
    while faults or time.monotonic() < end:
        await asyncio.sleep(world.random.uniform(0.3, 2.5))
        fault = faults.pop() if faults else world.random.choice(more)
        await fault()
    await asyncio.sleep(world.random.uniform(0.3, 1))


async def publish_last(world: World, publisher: Publisher) -> None:
    """Publish the last notification of each topic. A client that receives it is done."""
    async with aiohttp.ClientSession() as session:
        last = {topic: await publisher.post(session, topic) for topic in TOPICS}
    world.last = {topic: id for topic, id in last.items() if id is not None}
    assert len(world.last) == len(TOPICS)


def judge(world: World, truth: Truth) -> list[str]:
    """Return every broken promise, with the transcript of the client."""
    found = []
    for transcript in world.transcripts:
        for problem in problems(transcript, truth):
            found.append(f"{problem}\n  transcript: {_abridged(transcript)}")
    return found + _check_activity(world)


def _check_activity(world: World) -> list[str]:
    """Return a problem if too little happened for the run to prove anything."""
    events = [event for transcript in world.transcripts for event in transcript.events]
    counts = {
        kind.__name__: sum(isinstance(each, kind) for each in events)
        for kind in (Connected, Gap, Received, Subscribed)
    }
    counts["exact gaps"] = sum(isinstance(each, Gap) and each.missed is not None for each in events)
    print(f"{len(world.posts)} posts, {world.generation + 1} processes, {counts}")
    # Only a generation that forgot something makes gaps; short runs of several nodes have none.
    enough = counts["Received"] and (counts["Gap"] or not world.unclean)
    return [] if enough else [f"too little happened: {counts}"]


def _abridged(transcript: Transcript) -> str:
    """Return a transcript with only the first and last of consecutive notifications."""
    lines: list[str] = []
    previous = following = None
    events = [None, *transcript.events, None]
    for previous, event, following in zip(events, events[1:], events[2:], strict=False):
        if all(isinstance(each, Received) for each in (previous, event, following)):
            if lines[-1] != "…":
                lines.append("…")
        else:
            lines.append(str(event))
    return "\n    ".join(lines)
