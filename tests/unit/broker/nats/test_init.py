"""The broker of several nodes: the contract of brokers, with a real nats-server."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import aionotify.broker.nats
from aionotify.broker.nats import NatsBroker
from aionotify.broker.nats.connection import Connection
from aionotify.errors import NoAnswer, Unavailable
from aionotify.hub import Hub
from aionotify.settings import Settings
from aionotify.settings.nats import SERVERS
from tests.support import eventually
from tests.support.broker_contract import BrokerContract, Node, Start, drafts
from tests.support.nats import running_nats
from tests.support.nats_nodes import other_program, registered, running_node


@pytest.fixture
async def start(nats_settings: Settings) -> AsyncIterator[Start]:
    """Start a node on a stream of its own."""
    nodes: list[Node] = []

    async def start() -> Node:
        hub = Hub(1000, 3600, 100)
        broker = NatsBroker(hub, nats_settings)
        await broker.start()
        # On a loaded machine, the start may be over before the stream has been read.
        await eventually(lambda: broker.connected, 8)
        nodes.append(Node(hub, broker))
        return nodes[-1]

    yield start
    for node in nodes:
        await node.broker.stop()


class TestNatsBroker(BrokerContract):
    """On an R1 stream."""


async def test_new_leader_ends_requests_to_the_one_before(nats_settings: Settings) -> None:
    """It has never seen messages that the leader before had not acknowledged."""
    name = nats_settings.nats_stream
    async with (
        running_node(nats_settings) as node,
        other_program(nats_settings) as nats,
        asyncio.TaskGroup() as tasks,
    ):
        # The subjects of the stream have one token more than its name, so this has no answer.
        publishing = await nats.subscribe(f"{name}.a.b")
        await registered(nats)

        async def publish() -> None:
            with pytest.raises(NoAnswer, match="is gone"):
                await connection_of(node).request(f"{name}.a.b", b"", timeout=60)

        tasks.create_task(publish())
        await publishing.next_msg()
        await nats.publish(f"$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{name}", b"{}")


async def test_node_that_is_behind_is_unavailable(
    nats_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a client that has more already: it would get that again."""
    monkeypatch.setattr(aionotify.broker.nats, "REACH_TIMEOUT", 0.01)
    monkeypatch.setattr(aionotify.broker.nats, "DEADLINE", 0.1)
    async with running_node(nats_settings) as one, running_node(nats_settings) as two:
        follower = two.broker._tasks[0]  # type: ignore[attr-defined]
        follower.cancel()
        (published,) = await one.broker.publish(drafts("a"), wait_stored=False)
        with pytest.raises(Unavailable, match="is behind its cluster"):
            await two.broker.reach(published.id)
        # One that follows knows that there is no such id, for instance since the stream is another.
        await one.broker.reach(published.id + 1)
        assert one.broker.open("main").history.last_id == published.id


def connection_of(node: Node) -> Connection:
    """Return the node's connection to NATS."""
    connection = node.broker._connection  # type: ignore[attr-defined]
    assert isinstance(connection, Connection)
    return connection


async def test_refusal_is_told_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the reason; a full disk shows itself nowhere else."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(aionotify.broker.nats, "DEADLINE", 0.3)
    full = f'jetstream {{ store_dir: "{tmp_path}/full", max_file: 4K, max_mem: 1M }}'
    with running_nats(tmp_path, full) as server:
        settings = Settings(nats_url=SERVERS.parse(server.url), nats_replicas=1)
        async with running_node(settings) as node:
            await node.broker.publish(drafts("x" * 5000), wait_stored=False)
            for _ in range(2):
                with pytest.raises(Unavailable, match="Nothing was stored"):
                    await node.broker.publish(drafts("x" * 5000), wait_stored=False)
    lines = [each for each in caplog.messages if each.startswith("cannot publish")]
    assert lines == ["cannot publish (insufficient resources)"]
