"""The chaos run of several nodes: three of them, on three NATS servers."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

from tests.chaos.checker import Post, Received, Truth
from tests.chaos.clients import CLIENTS, Client, World
from tests.chaos.cluster_nodes import ClusterPublisher, Nodes, Refusal
from tests.chaos.cluster_servers import Servers
from tests.chaos.run import judge, publish_last
from tests.support.nats import running_nats_cluster

SETTLE = 90
"""Seconds that the last fault, and clients until the last notification, may take."""

Fault = Callable[[], Coroutine[None, None, None]]


async def cluster_chaos(seed: int, seconds: float, folder: Path) -> list[str]:
    """Run for about `seconds`. Return every broken promise, with the transcript of the client.

    All faults of servers happen if there is time for them; they take about 60 s.
    """
    world = World(random.Random(seed))
    limit = world.random.choice([50, 1000, 1000])
    with running_nats_cluster(folder) as cluster:
        environment = {
            "AIONOTIFY_NATS_URL": cluster.url,
            "AIONOTIFY_SHUTDOWN_GRACE": "1",
            "AIONOTIFY_HISTORY_LIMIT": str(limit),
        }
        nodes, servers = Nodes(world, environment, folder), Servers(world, cluster)
        publisher = ClusterPublisher(world, nodes)
        try:
            await nodes.start()
            async with asyncio.timeout(seconds + SETTLE), asyncio.TaskGroup() as group:
                publishing = group.create_task(publisher.run())
                for number in range(CLIENTS):
                    group.create_task(Client(world, number).run())
                await _faults(world, nodes, servers, time.monotonic() + seconds)
                publisher.stop()
                await publishing
                await publish_last(world, publisher)
        finally:
            await nodes.close()
    print(f"faults: {servers.count} of servers, {nodes.count} of nodes")
    print(f"slowest POST {publisher.slowest:.1f} s, {len(publisher.refusals)} times 503")
    truth = Truth(_published(world), world.transcripts, world.unclean, limit)
    return _refused(publisher.refusals, servers.outages) + judge(world, truth)


async def _faults(world: World, nodes: Nodes, servers: Servers, end: float) -> None:
    """Let servers and nodes fail at the same time, but one server and one node at most."""

    async def delete_stream() -> None:
        await nodes.notice_loss(servers.delete_stream)
        world.generation = world.after_gap

    faults = [
        servers.kill,
        servers.terminate,
        servers.freeze,
        servers.kill_two,
        delete_stream,
    ]
    async with asyncio.TaskGroup() as group:
        group.create_task(_repeat(world, faults, end, (0.5, 3)))
        group.create_task(_repeat(world, [nodes.restart_one], end, (0.5, 4)))


async def _repeat(
    world: World,
    faults: Sequence[Fault],
    end: float,
    pause: tuple[float, float],
) -> None:
    """Let each fault happen once, in random order, and so on until the time `end`."""
    left: list[Fault] = []
    while time.monotonic() < end:
        await asyncio.sleep(world.random.uniform(*pause))
        if not left:
            left = world.random.sample(faults, len(faults))
        fault, began = left.pop(), time.monotonic()
        await fault()
        print(f"{began:.1f} to {time.monotonic():.1f} s: {fault.__name__}")


def _published(world: World) -> list[Post]:
    """Return the posts without those that have no response and no listener.

    Stored posts reach every node, so a listener of the topic would have received them.
    """
    seen = {
        (transcript.topic, event.message)
        for transcript in world.transcripts
        for event in transcript.events
        if isinstance(event, Received)
    }
    return [
        each for each in world.posts if each.id is not None or (each.topic, each.message) in seen
    ]


def _refused(refusals: list[Refusal], outages: list[tuple[float, float]]) -> list[str]:
    """Return a problem if requests were refused although a majority was up for their whole time."""
    wrong = [
        each
        for each in refusals
        if not any(began < each.ended and each.began < ended for began, ended in outages)
    ]
    if not wrong:
        return []
    first, last = wrong[0], wrong[-1]
    return [
        f"{len(wrong)} times 503 with a majority of the servers: the first request took from "
        f"{first.began:.1f} to {first.ended:.1f} s, the last one to {last.ended:.1f} s: "
        f"{first.text}"
    ]
