"""The broker of several nodes: the contract of brokers, with a real nats-server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from aionotify.broker.nats import NatsBroker
from aionotify.broker.nats.connection import Connection
from aionotify.errors import NoAnswer
from aionotify.hub import Hub
from aionotify.settings import Settings
from tests.support import eventually
from tests.support.broker_contract import BrokerContract, Node, Start
from tests.support.nats_nodes import other_program, running_node


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
    """It has never seen what that one had not acknowledged."""
    name = nats_settings.nats_stream
    async with (
        running_node(nats_settings) as node,
        other_program(nats_settings) as nats,
        asyncio.TaskGroup() as tasks,
    ):
        # The subjects of the stream have one token more than its name, so this has no answer.
        publishing = await nats.subscribe(f"{name}.a.b")
        await nats.flush()

        async def publish() -> None:
            with pytest.raises(NoAnswer, match="is gone"):
                await connection_of(node).request(f"{name}.a.b", b"", timeout=60)

        tasks.create_task(publish())
        await publishing.next_msg()
        await nats.publish(f"$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{name}", b"{}")


def connection_of(node: Node) -> Connection:
    """Return the node's connection to NATS."""
    connection = node.broker._connection  # type: ignore[attr-defined]
    assert isinstance(connection, Connection)
    return connection
