"""The application: its components, and the application mounted in another one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from websockets.asyncio.client import connect

import aionotify
from aionotify.app import create_app
from aionotify.cache import Cache
from aionotify.hub import Hub
from aionotify.keys import CACHE, HUB, NOTIFIER, SETTINGS
from aionotify.notifier import Notifier
from aionotify.settings import Settings
from tests.support import alone, exchange
from tests.support.raw_client import handshake

Serve = Callable[[web.Application], Awaitable[TestServer]]


def test_create_app_is_public() -> None:
    assert aionotify.create_app is create_app
    assert aionotify.Settings is Settings


def test_components_are_in_app_state() -> None:
    settings = Settings()
    app = create_app(settings)
    assert app[SETTINGS] is settings
    kinds: list[tuple[web.AppKey[Any], type]] = [(CACHE, Cache), (HUB, Hub), (NOTIFIER, Notifier)]
    for key, kind in kinds:
        assert type(app[key]) is kind


def test_default_settings_without_argument() -> None:
    assert create_app()[SETTINGS] == Settings()


async def test_app_is_set_up_a_second_time() -> None:
    """As by a test client, or a supervisor that restarts the server in its process."""
    app = create_app(alone(shutdown_grace=0.1))
    for hurried in (True, False):
        server = TestServer(app)
        await server.start_server()
        assert server.port is not None
        answer = await exchange(server.port, b"POST /notifications HTTP/1.1", b"Content-Length: 0")
        assert answer.status == b"HTTP/1.1 400 Bad Request"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(handshake())
        await reader.readuntil(b"\r\n\r\n")
        if hurried:
            app[HUB].hurry()
        started = time.monotonic()
        await server.close()
        # The client does not answer. It has the whole grace period, unless the server hurries.
        assert hurried or time.monotonic() - started >= 0.1
        writer.close()


async def frames(url: str, count: int) -> list[str]:
    """Return the first `count` frames that a client gets."""
    async with connect(url) as ws:
        return [str(await ws.recv()) for _ in range(count)]


@pytest.mark.parametrize("limit", [1, 2, 10])
async def test_recent_limit_is_applied(aiohttp_server: Serve, limit: int) -> None:
    app = create_app(alone(recent_limit=limit))
    server = await aiohttp_server(app)
    assert server.port is not None
    for number in range(12):
        await app[NOTIFIER].publish(f"{number:02}")
    numbers = [f"{number:02}" for number in range(12 - limit, 12)]
    wanted = '{"recent_messages":["%s"]}' % '","'.join(numbers)  # noqa: UP031
    assert (await exchange(server.port, b"GET /messages HTTP/1.1")).body == wanted.encode()
    url = f"ws://127.0.0.1:{server.port}/ws"
    assert await frames(url, limit) == [f"[Recent] {number}" for number in numbers]


@pytest.fixture
async def mounted(aiohttp_server: Serve) -> int:
    """Return the port of another application, which has ours mounted under `/a/notify`."""

    async def own(request: web.Request) -> web.Response:
        return web.Response(text="the other application's")

    middle, outer = web.Application(), web.Application()
    middle.add_subapp("/notify/", create_app(alone()))
    outer.router.add_get("/health", own)
    outer.add_subapp("/a/", middle)
    port = (await aiohttp_server(outer)).port
    assert port is not None
    return port


async def test_mounted_app_answers_under_prefix(mounted: int) -> None:
    async with (
        connect(f"ws://127.0.0.1:{mounted}/a/notify/ws?client=admin") as admin,
        connect(f"ws://127.0.0.1:{mounted}/a/notify/ws") as user,
    ):
        await admin.send("Hello")
        assert await user.recv() == await admin.recv() == "[Notification] Hello"
        for path, body in (
            (b"/", b'{"message":"FastAPI real-time notifications running!"}'),
            (b"/messages", b'{"recent_messages":["Hello"]}'),
            (
                b"/health",
                b'{"status":"healthy","cache_status":"fallback",'
                b'"recent_notifications_count":1,"connected_websockets":2}',
            ),
        ):
            answer = await exchange(mounted, b"GET /a/notify%b HTTP/1.1" % path)
            assert answer.status == b"HTTP/1.1 200 OK"
            assert answer.body == body


async def test_mounted_app_keeps_errors_and_redirects(mounted: int) -> None:
    answer = await exchange(mounted, b"GET /a/notify/health/?a=%20 HTTP/1.1")
    assert answer.status == b"HTTP/1.1 307 Temporary Redirect"
    assert answer.headers[0] == b"Location: ../../../a/notify/health?a=%20"
    answer = await exchange(mounted, b"GET /a/notify/nope HTTP/1.1")
    assert (answer.status, answer.body) == (b"HTTP/1.1 404 Not Found", b'{"detail":"Not Found"}')
    answer = await exchange(mounted, b"POST /a/notify/messages HTTP/1.1")
    assert answer.status == b"HTTP/1.1 405 Method Not Allowed"
    assert answer.headers[0] == b"Allow: GET, HEAD"
    assert answer.body == b'{"detail":"Method Not Allowed"}'
    answer = await exchange(mounted, b"GET /a/notify/ws HTTP/1.1")
    assert answer.status == b"HTTP/1.1 426 Upgrade Required"


async def test_mounted_app_leaves_other_paths(mounted: int) -> None:
    answer = await exchange(mounted, b"GET /health HTTP/1.1")
    assert answer.body == b"the other application's"
    answer = await exchange(mounted, b"GET /nope HTTP/1.1")
    assert answer.body == b"404: Not Found"
    answer = await exchange(mounted, b"GET /health/ HTTP/1.1")
    assert answer.status == b"HTTP/1.1 404 Not Found"


async def test_mounted_app_closes_clients(
    aiohttp_server: Serve,
) -> None:
    outer = web.Application()
    outer.add_subapp("/notify", create_app(alone()))
    server = await aiohttp_server(outer)
    async with connect(f"ws://127.0.0.1:{server.port}/notify/ws") as ws:
        await server.close()
        await ws.wait_closed()
        assert ws.close_code == 1012
