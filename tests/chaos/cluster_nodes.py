"""The nodes of the chaos run, their faults, and the publisher that uses all of them."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.chaos.checker import Post
from tests.chaos.clients import World
from tests.chaos.run import Publisher
from tests.support import ServerProcess, eventually, free_port, running_server
from tests.support.cluster import is_current

CURRENT_WITHIN = 20.0
"""Seconds within which a node is current: a leader may have to be elected first."""

KEYED = 0.3
"""The share of notifications with an Idempotency-Key, which are sent again after a failure."""

WENT_BACK = "the stream was deleted or is an older copy"


class Node:
    """A process with a port of its own, which it keeps over restarts."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        """Keep the output of all its processes in `log`."""
        self.port = free_port()
        self.ready = False
        """Whether a load balancer would send requests here."""
        self._environment = environment
        self._log = log
        self._stack = AsyncExitStack()
        self._process: ServerProcess | None = None

    async def start(self) -> None:
        """Start a process, and wait until it is current."""
        context = running_server(self._environment, "--port", str(self.port))
        process = self._process = await self._stack.enter_async_context(context)
        await eventually(lambda: is_current(process), CURRENT_WITHIN, "the node is current")
        self.ready = True

    async def restart(self, number: int) -> None:
        """End the process with a signal, and start another one."""
        self.ready = False
        assert self._process is not None
        status = await self._process.stop(number)
        assert status == (0 if number == signal.SIGTERM else -number), self._process.output()
        await self.close()
        await self.start()

    async def close(self) -> None:
        """Kill the process if it runs, and keep its output.

        Raises AssertionError if the output has an unhandled error.
        """
        output, self._process = self._process.output() if self._process else "", None
        await self._stack.aclose()
        with self._log.open("a") as log:
            log.write(output)
        assert "Traceback" not in output, output
        assert "Task exception" not in output, output

    def losses(self) -> int:
        """Return how often this process has noticed that the stream was deleted."""
        return self._process.output().count(WENT_BACK) if self._process else 0


class Nodes:
    """Three nodes on one stream, and their faults. At most one is away at a time."""

    def __init__(self, world: World, environment: Mapping[str, str], folder: Path) -> None:
        self._random = random.Random(world.random.random())
        self._nodes = [Node(environment, folder / f"node{number}.log") for number in range(1, 4)]
        world.ports = [each.port for each in self._nodes]
        self.count = 0
        """The number of faults so far."""
        self.calm = asyncio.Lock()
        """Held while nodes must not be restarted."""

    async def start(self) -> None:
        """Start all nodes."""
        for each in self._nodes:
            await each.start()

    async def close(self) -> None:
        """Kill all processes that run. Raises AssertionError as `Node.close` does."""
        for each in self._nodes:
            await each.close()

    async def restart_one(self) -> None:
        """Stop or kill a node, and start it again."""
        number = self._random.choice([signal.SIGTERM, signal.SIGKILL])
        async with self.calm:
            await self._random.choice(self._nodes).restart(number)
        self.count += 1

    async def notice_loss(self, lose: Callable[[], Awaitable[None]]) -> None:
        """Delete the stream by `lose`, and wait until all nodes have noticed."""
        async with self.calm:
            before = [each.losses() for each in self._nodes]
            await lose()
            for each, count in zip(self._nodes, before, strict=True):
                await eventually(lambda each=each, count=count: each.losses() > count, 20)  # type: ignore[misc]

    def ready_port(self) -> int:
        """Return the port of a node that is ready."""
        return self._random.choice([each.port for each in self._nodes if each.ready])


@dataclass(frozen=True, slots=True)
class Refusal:
    """A response 503, with the time of the request and of the response."""

    began: float
    ended: float
    text: str


class ClusterPublisher(Publisher):
    """Publishes on any node that is ready, as behind a load balancer."""

    def __init__(self, world: World, nodes: Nodes) -> None:
        super().__init__(world)
        self._nodes = nodes
        self.refusals: list[Refusal] = []
        self.slowest = 0.0
        """Seconds of the slowest request that was answered."""

    async def post(self, session: aiohttp.ClientSession, topic: str) -> int | None:
        """Publish a notification. Return its id, or None if it has none.

        Notifications that a node calls not stored are not recorded: no client may receive them.
        """
        message, data = self.next_message()
        keyed = self.world.random.random() < KEYED
        generation, moment = self.world.generation, time.monotonic()
        id, stored = await self._try(session, topic, data, message if keyed else None)
        # Once the stream was deleted, so were its keys.
        if stored and id is None and keyed and generation == self.world.after_gap:
            id, _ = await self._try(session, topic, data, message)
        if stored:
            self.world.posts.append(Post(topic, message, generation, moment, id))
        return id

    async def _try(
        self, session: aiohttp.ClientSession, topic: str, data: str, key: str | None
    ) -> tuple[int | None, bool]:
        """Return the id, if there is a response with one, and whether it may have been stored."""
        url = f"http://127.0.0.1:{self._nodes.ready_port()}/notifications?topic={topic}"
        headers = {"Idempotency-Key": f'"{key}"'} if key is not None else {}
        began = time.monotonic()
        try:
            async with session.post(url, data=data, headers=headers) as response:
                text = await response.text()
                if response.status == 503 and "is stopping" in text:
                    return None, False  # a load balancer would go on to another node
                if response.status == 503:
                    self.refusals.append(Refusal(began, time.monotonic(), text))
                    return None, "Nothing was stored" not in text
                assert response.status == 201, text
                self.slowest = max(self.slowest, time.monotonic() - began)
                return int((await response.json())["id"]), True
        except aiohttp.ClientConnectorError:
            return None, False
        except (aiohttp.ClientError, OSError):
            return None, True
