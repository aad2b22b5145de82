"""Several nodes on three real NATS servers, as clients see them."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.support import running_server
from tests.support.cluster import events, poll, publish, running_nodes, status_of
from tests.support.nats import NatsCluster, running_nats_cluster


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsCluster]:
    """Run three NATS servers."""
    with running_nats_cluster(tmp_path) as cluster:
        yield cluster


async def test_every_listener_gets_what_any_node_publishes(nats: NatsCluster) -> None:
    """Text, JSON and server-sent events on three nodes, with the same ids."""
    async with running_nodes(nats) as nodes, AsyncExitStack() as stack:
        enter = stack.enter_async_context
        texts = [await enter(connect(node.ws_url)) for node in nodes]
        frames = [await enter(connect(f"{node.ws_url}?format=json")) for node in nodes]
        session = await enter(aiohttp.ClientSession())
        streams = [await enter(session.get(f"{node.url}/events")) for node in nodes]
        wanted = []
        for number, node in enumerate(nodes):
            found = await publish(node, f"from {number}")
            wanted.append((found["message"], found["id"]))
        for text in texts:
            got = [await asyncio.wait_for(text.recv(), 5) for _ in wanted]
            assert got == [f"[Notification] {message}" for message, _ in wanted]
        for frame in frames:
            assert await events(frame, 3) == wanted
        for stream in streams:
            ids: list[str] = []
            while len(ids) < 4:  # with that of `subscribed`
                line = await asyncio.wait_for(stream.content.readline(), 5)
                if line.startswith(b"id:"):
                    ids.append(line.removeprefix(b"id:").strip().decode())
            assert ids[1:] == [id for _, id in wanted]


async def test_client_resumes_on_another_node(nats: NatsCluster) -> None:
    """Exactly: even right after the other node has answered, when this one is still behind."""
    async with running_nodes(nats, 2) as nodes:
        last = (await publish(nodes[0], "first"))["id"]
        for number in range(30):
            here, there = nodes[number % 2], nodes[1 - number % 2]
            new = (await publish(here, str(number)))["id"]
            page = await poll(there, last)
            assert page["complete"], page
            assert page["id"] in (last, new)
            assert (await poll(there, new)) == {"notifications": [], "complete": True, "id": new}
            async with connect(f"{there.ws_url}?format=json&since={last}") as client:
                assert await events(client, 1) == [(str(number), new)]
            last = new


async def test_key_publishes_once_on_all_nodes(nats: NatsCluster) -> None:
    async with running_nodes(nats, 2) as nodes:
        headers = {"Idempotency-Key": '"k1"'}
        first = await publish(nodes[0], "once", **headers)
        assert await publish(nodes[1], "once", **headers) == first
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{nodes[1].url}/notifications", data="x", headers=headers) as answer,
        ):
            assert answer.status == 422
        assert json.loads((await status_of(nodes[1], "/messages"))[1])["recent_messages"] == [
            "once"
        ]


async def test_killed_node_resumes_exactly(nats: NatsCluster) -> None:
    """It has no memory of its own: the stream tells it what is complete."""
    async with running_nodes(nats, 2) as nodes:
        position = json.loads((await status_of(nodes[1], "/notifications"))[1])["id"]
        first = (await publish(nodes[0], "before"))["id"]
        nodes[1].process.kill()
        await nodes[1].process.wait()
        second = (await publish(nodes[0], "meanwhile"))["id"]
        async with running_server({"AIONOTIFY_NATS_URL": nats.url}) as again:
            page = await poll(again, first)
            assert page["complete"]
            assert [each["id"] for each in page["notifications"]] == [second]
            page = await poll(again, position)
            assert page["complete"]
            assert len(page["notifications"]) == 2
