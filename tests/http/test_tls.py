"""The application mounted in another one that serves TLS by itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from websockets.asyncio.client import connect

from aionotify.app import create_app
from tests.support import alone
from tests.support.app import RunningApp
from tests.support.tls import client_tls, server_tls

pytestmark = pytest.mark.both_loops

BIG = 60_000
"""Bytes of a message of which two fill the buffers of a TLS transport."""

Receive = Callable[[], Awaitable[str]]
"""Returns the message of the next live notification."""


@pytest.fixture
async def mounted(
    aiohttp_server: Callable[..., Awaitable[TestServer]],
) -> RunningApp:
    """Mount the application at `/notify` behind TLS."""
    app, outer = create_app(alone()), web.Application()
    outer.add_subapp("/notify", app)
    server = await aiohttp_server(outer, ssl=server_tls())
    return RunningApp(app, server.port or 0)


@asynccontextmanager
async def text_client(port: int) -> AsyncIterator[Receive]:
    url = f"wss://127.0.0.1:{port}/notify/ws"
    async with connect(url, ssl=client_tls()) as client:

        async def receive() -> str:
            return str(await client.recv()).removeprefix("[Notification] ")

        yield receive


@asynccontextmanager
async def json_client(port: int) -> AsyncIterator[Receive]:
    url = f"wss://127.0.0.1:{port}/notify/ws?format=json"
    async with connect(url, ssl=client_tls()) as client:
        assert json.loads(await client.recv())["type"] == "subscribed"

        async def receive() -> str:
            return str(json.loads(await client.recv())["message"])

        yield receive


@asynccontextmanager
async def stream_client(port: int) -> AsyncIterator[Receive]:
    url = f"https://127.0.0.1:{port}/notify/events"
    async with (
        ClientSession(read_bufsize=1 << 20) as session,
        session.get(url, ssl=client_tls()) as response,
    ):

        async def receive() -> str:
            while True:
                event = await response.content.readuntil(b"\n\n")
                data = json.loads(event.partition(b"data: ")[2])
                if "message" in data:
                    return str(data["message"])

        yield receive


CLIENTS = [text_client, json_client, stream_client]


def messages() -> Iterator[str]:
    """Yield five messages, three of them big."""
    for number in range(5):
        yield f"{number}" if number % 2 else f"{number}" * BIG


@pytest.mark.parametrize("client", CLIENTS)
async def test_tls_client_gets_everything(
    mounted: RunningApp, client: Callable[[int], AbstractAsyncContextManager[Receive]]
) -> None:
    """One after another, and at once: a transport that pauses has to go on by itself."""
    async with asyncio.timeout(5), client(mounted.port) as receive:
        for message in messages():
            await mounted.publish(message)
            assert await receive() == message
        for message in messages():
            await mounted.publish(message)
        assert [await receive() for _ in messages()] == [*messages()]


async def test_tls_close_has_its_code(mounted: RunningApp) -> None:
    """The close frame arrives although TLS has no half-closed connections."""
    url = f"wss://127.0.0.1:{mounted.port}/notify/ws"
    async with asyncio.timeout(5), connect(url, ssl=client_tls()) as client:
        await client.send("x" * 300_000)
        await client.wait_closed()
    assert client.close_code == 1009
