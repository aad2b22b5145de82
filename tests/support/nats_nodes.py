"""Nodes of a cluster without sockets, and other programs on the same NATS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client

from aionotify.broker.nats import NatsBroker
from aionotify.hub import Hub
from aionotify.settings import Settings
from tests.support.broker_contract import Node


@asynccontextmanager
async def running_node(settings: Settings, history_limit: int = 1000) -> AsyncIterator[Node]:
    """Run a node."""
    hub = Hub(history_limit, settings.recent_ttl, 100)
    broker = NatsBroker(hub, settings)
    await broker.start()
    try:
        yield Node(hub, broker)
    finally:
        await broker.stop()


@asynccontextmanager
async def other_program(settings: Settings) -> AsyncIterator[Client]:
    """Connect a client of NATS."""
    assert settings.nats_url is not None
    client = Client()
    await client.connect(servers=settings.nats_url.urls)
    try:
        yield client
    finally:
        await client.close()


async def registered(client: Client) -> None:
    """Wait until the server knows the subscriptions of a client."""
    # Twice: the ping of `flush` (nats-py 2.16) overtakes what waits to be sent.
    await client.flush()
    await client.flush()
