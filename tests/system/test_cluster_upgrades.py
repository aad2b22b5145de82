"""The upgrade of docker/README.md: nodes and NATS servers are restarted one after another."""

import asyncio
import contextlib
import signal
import urllib.error
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.support import ServerProcess, eventually, free_port, running_server
from tests.support.cluster import is_current, publish
from tests.support.listener import listening
from tests.support.nats import NatsProcess, running_nats_cluster

pytestmark = pytest.mark.timeout(120)  # three NATS servers are started twice


@contextlib.asynccontextmanager
async def publishing(node: ServerProcess) -> AsyncIterator[list[str]]:
    """Publish one message after another, each of which must be stored; yield the stored ones."""
    done: list[str] = []
    ended = asyncio.Event()

    async def publish_on() -> None:
        while not ended.is_set():
            message = str(len(done))
            await publish(node, message)
            done.append(message)

    async with asyncio.TaskGroup() as group:
        group.create_task(publish_on())
        yield done
        ended.set()


def grows(done: list[str], before: int) -> bool:
    """Return whether publishing goes on."""
    return len(done) > before + 10


def is_healthy(server: NatsProcess) -> bool:
    """Return whether a NATS server has everything that it has missed."""
    with contextlib.suppress(urllib.error.URLError):
        return bool(server.monitoring("/healthz")["status"] == "ok")
    return False


async def test_every_server_is_restarted_while_clients_publish(tmp_path: Path) -> None:
    """No request fails, and a listener gets everything once, in order."""
    with running_nats_cluster(tmp_path) as nats:
        async with (
            running_server({"AIONOTIFY_NATS_URL": nats.url}) as node,
            listening(node.url) as listener,
        ):
            await listener.connects(1)
            async with publishing(node) as done:
                for server in nats.servers:
                    server.signal(signal.SIGTERM)
                    await asyncio.to_thread(server.wait)
                    await asyncio.to_thread(server.start)
                    await eventually(partial(is_healthy, server), 20)
                    await eventually(partial(grows, done, len(done)), 20)
            await listener.receives(*done)
            assert listener.gaps == []


async def test_every_node_is_restarted_while_a_client_listens(tmp_path: Path) -> None:
    """On one port, whose other process gets the clients meanwhile."""
    with running_nats_cluster(tmp_path) as nats:
        environment = {"AIONOTIFY_NATS_URL": nats.url, "AIONOTIFY_REUSE_PORT": "on"}
        port = str(free_port())
        async with AsyncExitStack() as stack:

            async def start() -> ServerProcess:
                own = {**environment, "AIONOTIFY_METRICS_PORT": str(free_port())}
                server = running_server(own, "--port", port)
                return await stack.enter_async_context(server)

            nodes = [await start(), await start()]
            alone = running_server({"AIONOTIFY_NATS_URL": nats.url})
            publisher = await stack.enter_async_context(alone)
            listener = await stack.enter_async_context(listening(nodes[0].url))
            await listener.connects(1)
            async with publishing(publisher) as done:
                for node in nodes:
                    assert await node.stop() == 0
                    assert await is_current(await start())
            await listener.receives(*done, seconds=20)
            assert listener.gaps == []
