"""Nodes of a cluster as processes, requests to them, and to the leader of their stream."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from nats.aio.client import Client
from nats.errors import Error as NatsError
from websockets.asyncio.client import ClientConnection

from tests.support.nats import NatsCluster
from tests.support.server import ServerProcess, running_server

LEADER_TIMEOUT = 0.5
"""Seconds in which the leader of a stream answers, if there is one."""


@contextlib.asynccontextmanager
async def running_nodes(nats: NatsCluster, count: int = 3) -> AsyncIterator[list[ServerProcess]]:
    """Run nodes on one stream."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running_server({"AIONOTIFY_NATS_URL": nats.url}))
            for _ in range(count)
        ]


async def publish(node: ServerProcess, message: str, **headers: str) -> dict[str, Any]:
    """Publish in `main`, and return the notification."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{node.url}/notifications", data=message, headers=headers) as answer,
    ):
        found: dict[str, Any] = await answer.json()
        assert answer.status == 201, found
        return found


async def status_of(node: ServerProcess, path: str, method: str = "GET") -> tuple[int, str]:
    """Return the status and the body of an answer."""
    data = "x" if method == "POST" else None
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, node.url + path, data=data) as answer,
    ):
        return answer.status, await answer.text()


async def poll(node: ServerProcess, since: str) -> dict[str, Any]:
    """Poll `main` after an id."""
    found: dict[str, Any] = json.loads((await status_of(node, f"/notifications?since={since}"))[1])
    return found


async def is_current(node: ServerProcess) -> bool:
    """Return whether `/health` says that the node is connected."""
    return '"cache_status":"connected"' in (await status_of(node, "/health"))[1]


async def events(connection: ClientConnection, count: int) -> list[tuple[str, str]]:
    """Read notifications from JSON frames until there are `count`: messages and ids."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        frame = json.loads(await asyncio.wait_for(connection.recv(), 15))
        assert frame["type"] in ("notification", "subscribed"), frame
        if frame["type"] == "notification":
            found.append((frame["message"], frame["id"]))
    return found


async def ask_leader(nats: NatsCluster, verb: str) -> dict[str, Any]:
    """Send `STREAM.INFO` or `STREAM.DELETE`, and return the answer; empty if there is none."""
    client = Client()
    try:
        async with asyncio.timeout(2):
            await client.connect(servers=[each.url for each in nats.servers])
            subject = f"$JS.API.STREAM.{verb}.aionotify"
            answer = await client.request(subject, b"", timeout=LEADER_TIMEOUT)
    except (NatsError, TimeoutError, OSError):
        return {}
    finally:
        await client.close()
    found: dict[str, Any] = json.loads(answer.data)
    return found
