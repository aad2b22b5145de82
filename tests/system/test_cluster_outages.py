"""Nodes that lose NATS, or a part of it: the service that goes on, and the errors of clients."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect

from tests.support import ServerProcess, eventually
from tests.support.cluster import (
    ask_leader,
    events,
    is_current,
    poll,
    publish,
    running_nodes,
    status_of,
)
from tests.support.nats import NatsCluster
from tests.system.test_cluster import nats

__all__ = ["nats"]

NOTHING = "The cluster cannot store notifications at the moment. Nothing was stored."


async def all_current(nodes: list[ServerProcess]) -> None:
    """Wait until all nodes are current."""
    for node in nodes:
        await eventually(lambda node=node: is_current(node))  # type: ignore[misc]


async def test_cut_off_node_serves_from_memory(nats: NatsCluster) -> None:
    """Reading and joining go on; publishing is refused, and nothing of it is stored later."""
    async with running_nodes(nats, 2) as nodes:
        last = (await publish(nodes[0], "before"))["id"]
        await poll(nodes[1], last)
        for server in nats.servers:
            server.kill()
        await eventually(lambda: "lost NATS" in nodes[1].output())
        assert '"cache_status":"fallback"' in (await status_of(nodes[1], "/health"))[1]
        assert await poll(nodes[1], last) == {"notifications": [], "complete": True, "id": last}
        async with connect(nodes[1].ws_url + "?client=admin") as client:
            assert await client.recv() == "[Recent] before"
            posting = asyncio.create_task(status_of(nodes[1], "/notifications", "POST"))
            await client.send("refused")
            assert NOTHING in str(await client.recv())
            status, body = await posting
            assert status == 503
            assert NOTHING in body
        for server in nats.servers:
            server.launch()
        for server in nats.servers:
            server.wait_listening()
        await eventually(lambda: is_back(nats), 15)
        await all_current(nodes)
        page = json.loads((await status_of(nodes[0], "/messages"))[1])
        assert page["recent_messages"] == ["before"]
        await publish(nodes[1], "after")
        await eventually(lambda: "reconnected to NATS at 127.0.0.1:" in nodes[1].output())


async def is_back(nats: NatsCluster) -> bool:
    """Return whether the leader of the stream answers: an election takes seconds."""
    return "config" in await ask_leader(nats, "INFO")


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_lost_leader_loses_nothing(nats: NatsCluster, fault: str) -> None:
    """A publish waits for the election of another one."""
    async with (
        running_nodes(nats, 2) as nodes,
        connect(f"{nodes[1].ws_url}?format=json") as client,
    ):
        first = await publish(nodes[0], "first")
        getattr(nats.leader(), fault)()
        second = await publish(nodes[0], "second")
        assert await events(client, 2) == [("first", first["id"]), ("second", second["id"])]


async def test_deleted_stream_is_a_gap(nats: NatsCluster) -> None:
    """Each client is told, by the format that it has; ids go on rising."""
    async with running_nodes(nats, 2) as nodes:
        async with (
            connect(f"{nodes[1].ws_url}?format=json") as client,
            connect(nodes[1].ws_url) as text,
        ):
            first = await publish(nodes[0], "first")
            assert await events(client, 1) == [("first", first["id"])]
            assert (await ask_leader(nats, "DELETE"))["success"]
            second = await publish(nodes[0], "second")
            assert int(second["id"]) > int(first["id"])
            gap = json.loads(await client.recv())
            assert gap == {"type": "gap", "missed": None, "id": gap["id"]}
            assert await events(client, 1) == [("second", second["id"])]
            assert await text.recv() == "[Notification] first"
            await text.wait_closed()
            assert text.close_code == 1013
        page = await poll(nodes[1], first["id"])
        assert not page["complete"]
        assert await poll(nodes[1], gap["id"]) == {
            "notifications": page["notifications"],
            "complete": True,
            "id": second["id"],
        }
