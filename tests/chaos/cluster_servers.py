"""The three NATS servers of the chaos run, and their faults."""

import asyncio
import random
import signal
import time
from typing import Any

from tests.chaos.clients import World
from tests.support import eventually
from tests.support.cluster import ask_leader
from tests.support.nats import NatsCluster, NatsProcess

HEALTHY_WITHIN = 40.0
"""Seconds after a fault within which a leader and all replicas of the stream must be back."""


class Servers:
    """Faults of servers. Each ends when the stream has a leader and three current replicas.

    So at most one server is away at a time, except in the outages of `outages`.
    """

    def __init__(self, world: World, cluster: NatsCluster) -> None:
        self._world = world
        self._random = random.Random(world.random.random())
        self._cluster = cluster
        self.outages: list[tuple[float, float]] = []
        """When two of three were down, by the monotonic clock."""
        self.count = 0
        """The number of faults so far."""

    async def kill(self) -> None:
        """Kill a server, and start it again."""
        await self._restart(signal.SIGKILL)

    async def terminate(self) -> None:
        """Stop a server cleanly, and start it again."""
        await self._restart(signal.SIGTERM)

    async def freeze(self) -> None:
        """Freeze a server for some seconds; its connections stay open."""
        server = await self._choose()
        server.freeze()
        try:
            await self._wait(1, 8)
        finally:
            server.thaw()
        await self.healthy()

    async def kill_two(self) -> None:
        """Kill two of three servers, and start them again, one after the other."""
        pair = self._random.sample(self._cluster.servers, 2)
        began = time.monotonic()
        for each in pair:
            each.kill()
        await self._wait(0.5, 4)
        await asyncio.to_thread(pair[0].start)
        self.outages.append((began, time.monotonic()))
        await self._wait(0, 3)
        await asyncio.to_thread(pair[1].start)
        await self.healthy()

    async def delete_stream(self) -> None:
        """Delete the stream with everything in it. A node creates it again."""
        created = ""
        while not created:  # the answer may be lost
            created = await self._created()
        # From now on, a node may tell of the loss; clients that connect meanwhile may get
        # notifications of the deleted stream.
        self._world.unclean.add(self._world.generation)
        self._world.after_gap = self._world.generation + 1

        async def is_replaced() -> bool:
            now = await self._created()
            if now == created:  # again, if an answer is lost
                await ask_leader(self._cluster, "DELETE")
            return now not in ("", created)

        await eventually(is_replaced, HEALTHY_WITHIN, "a node created the stream again")
        await self.healthy()

    async def healthy(self) -> None:
        """Wait until the stream has a leader, and replicas that have everything."""
        await eventually(self._is_healthy, HEALTHY_WITHIN, "the stream has all its replicas")
        self.count += 1

    async def _restart(self, number: int) -> None:
        server = await self._choose()
        server.signal(number)
        await asyncio.to_thread(server.wait)
        await self._wait(0, 4)
        await asyncio.to_thread(server.start)
        await self.healthy()

    async def _choose(self) -> NatsProcess:
        """Return the leader of the stream in half of all cases."""
        if self._random.random() < 0.5:
            return await asyncio.to_thread(self._cluster.leader)
        return self._random.choice(self._cluster.servers)

    async def _wait(self, least: float, most: float) -> None:
        await asyncio.sleep(self._random.uniform(least, most))

    async def _is_healthy(self) -> bool:
        cluster = (await self._info()).get("cluster", {})
        replicas = cluster.get("replicas", [])
        return (
            bool(cluster.get("leader"))
            and len(replicas) == 2
            and all(each["current"] and not each.get("offline") for each in replicas)
        )

    async def _created(self) -> str:
        """Return when the stream was created, or nothing if that is not known."""
        return str((await self._info()).get("created", ""))

    async def _info(self) -> dict[str, Any]:
        return await ask_leader(self._cluster, "INFO")
