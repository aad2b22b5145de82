"""The server behind a real nginx whose configuration only says where to pass requests."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.support import ServerProcess, running_server
from tests.support.client import publish
from tests.support.environment import without_memcached
from tests.support.nginx import running_nginx


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    """Start a server that sends a heartbeat comment every second, the shortest interval."""
    async with running_server(without_memcached(AIONOTIFY_HEARTBEAT="1")) as process:
        yield process


@pytest.fixture
async def proxy(server: ServerProcess, tmp_path: Path) -> AsyncIterator[str]:
    """Start nginx in front of the server. The value is its host and port."""
    async with running_nginx(server.port, tmp_path) as address:
        yield address


async def test_events_pass_unbuffered(proxy: str) -> None:
    """Each event is published when the previous one has arrived: a buffer would stop them all."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{proxy}/events") as response,
    ):
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store, no-transform"
        # nginx would compress it, as `gzip_types` says.
        assert response.headers["Content-Encoding"] == "identity"
        first, second, *_ = await next_block(response)
        assert (first[:7], second) == ("retry: ", "event: subscribed")
        for number in range(20):
            (id,) = await publish(f"http://{proxy}", f"number {number}")
            event = await next_event(response)
            assert event[0] == f"id: {id}"
            assert event[1].endswith(f'"topic":"main","message":"number {number}"}}')
        for _ in range(2):
            assert await asyncio.wait_for(response.content.readuntil(b"\n"), 3) == b":\n"
        (id,) = await publish(f"http://{proxy}", "after a pause")
        assert (await next_event(response))[0] == f"id: {id}"


async def test_events_resume_through_proxy(proxy: str) -> None:
    ids = await publish(f"http://{proxy}", *(f"number {number}" for number in range(3)))
    headers = {"Last-Event-ID": f"{ids[0]}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{proxy}/events", headers=headers) as response,
    ):
        assert (await response.content.readuntil(b"\n")).startswith(b"retry: ")
        resumed = [(await next_block(response))[0] for _ in range(2)]
        assert resumed == [f"id: {id}" for id in ids[1:]]
        assert (await next_block(response))[:2] == ["event: subscribed", f"id: {ids[-1]}"]


async def test_redirect_stays_below_prefix(server: ServerProcess, tmp_path: Path) -> None:
    async with (
        running_nginx(server.port, tmp_path, "/notify") as address,
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}/notify/ui/?a=1") as response,
    ):
        assert (response.status, str(response.url)) == (200, f"http://{address}/notify/ui?a=1")


async def test_proxy_that_hides_host_is_told_how_to_pass_it(
    proxy: str, server: ServerProcess
) -> None:
    """nginx passes the name of its upstream as `Host` unless it is told otherwise."""
    page = {"Host": "notify.example", "Origin": "http://notify.example"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{proxy}/health", headers=page) as response,
    ):
        assert response.status == 403
        detail = (await response.json())["detail"]
    assert f"not allowed on the host '127.0.0.1:{server.port}'" in detail
    for text in (detail, server.output()):
        assert "have the proxy pass Host or X-Forwarded-Host" in text


async def test_websocket_passes_proxy(proxy: str) -> None:
    async with connect(f"ws://{proxy}/ws?client=admin") as ws:
        await ws.send("Hello")
        assert await asyncio.wait_for(ws.recv(), 3) == "[Notification] Hello"
        await publish(f"http://{proxy}", "and over HTTP")
        assert await asyncio.wait_for(ws.recv(), 3) == "[Notification] and over HTTP"


async def next_block(response: aiohttp.ClientResponse) -> list[str]:
    """Return the lines of the stream up to the next blank one."""
    read = await asyncio.wait_for(response.content.readuntil(b"\n\n"), 3)
    return read.decode().removesuffix("\n").splitlines()


async def next_event(response: aiohttp.ClientResponse) -> list[str]:
    """Return the lines of the next event, without heartbeat comments."""
    return [line for line in await next_block(response) if line != ":"]
