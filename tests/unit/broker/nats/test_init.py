"""The broker of several nodes: the contract of brokers, with a real nats-server."""

from collections.abc import AsyncIterator

import pytest

from aionotify.broker.nats import NatsBroker
from aionotify.hub import Hub
from aionotify.settings import Settings
from tests.support import eventually
from tests.support.broker_contract import BrokerContract, Node, Start


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
