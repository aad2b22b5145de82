"""The application: alone, mounted in another, and what of it others can reach."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from websockets.asyncio.client import connect

import aionotify
from aionotify.app import CACHE, HUB, NOTIFIER, SETTINGS, create_app
from aionotify.cache import Cache
from aionotify.hub import Hub
from aionotify.notifier import Notifier
from aionotify.settings import Settings
from tests.support import alone, exchange

Serve = Callable[[web.Application], Awaitable[TestServer]]


def test_it_is_public() -> None:
    assert aionotify.create_app is create_app
    assert aionotify.Settings is Settings


def test_the_components_are_in_the_state_of_the_application() -> None:
    settings = Settings()
    app = create_app(settings)
    assert app[SETTINGS] is settings
    kinds: list[tuple[web.AppKey[Any], type]] = [(CACHE, Cache), (HUB, Hub), (NOTIFIER, Notifier)]
    for key, kind in kinds:
        assert type(app[key]) is kind


def test_without_settings_the_defaults_count() -> None:
    assert create_app()[SETTINGS] == Settings()


async def frames(url: str, count: int) -> list[str]:
    """The first ones that a client gets there."""
    async with connect(url) as ws:
        return [str(await ws.recv()) for _ in range(count)]


@pytest.mark.parametrize("limit", [1, 2, 10])
async def test_as_many_recents_as_the_settings_say(aiohttp_server: Serve, limit: int) -> None:
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
    """The port of another application, which has ours under `/a/notify`."""

    async def own(request: web.Request) -> web.Response:
        return web.Response(text="the other application's")

    middle, outer = web.Application(), web.Application()
    middle.add_subapp("/notify/", create_app(alone()))
    outer.router.add_get("/health", own)
    outer.add_subapp("/a/", middle)
    port = (await aiohttp_server(outer)).port
    assert port is not None
    return port


async def test_mounted_it_answers_under_its_prefix(mounted: int) -> None:
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


async def test_mounted_its_errors_and_redirects_are_its_own(mounted: int) -> None:
    answer = await exchange(mounted, b"GET /a/notify/health/?a=%20 HTTP/1.1")
    assert answer.status == b"HTTP/1.1 307 Temporary Redirect"
    assert answer.headers[0] == b"Location: /a/notify/health?a=%20"
    answer = await exchange(mounted, b"GET /a/notify/nope HTTP/1.1")
    assert (answer.status, answer.body) == (b"HTTP/1.1 404 Not Found", b'{"detail":"Not Found"}')
    answer = await exchange(mounted, b"POST /a/notify/messages HTTP/1.1")
    assert answer.status == b"HTTP/1.1 405 Method Not Allowed"
    assert answer.headers[0] == b"Allow: GET, HEAD"
    assert answer.body == b'{"detail":"Method Not Allowed"}'
    answer = await exchange(mounted, b"GET /a/notify/ws HTTP/1.1")
    assert answer.status == b"HTTP/1.1 426 Upgrade Required"


async def test_mounted_it_leaves_the_others_paths_alone(mounted: int) -> None:
    answer = await exchange(mounted, b"GET /health HTTP/1.1")
    assert answer.body == b"the other application's"
    answer = await exchange(mounted, b"GET /nope HTTP/1.1")
    assert answer.body == b"404: Not Found"
    answer = await exchange(mounted, b"GET /health/ HTTP/1.1")
    assert answer.status == b"HTTP/1.1 404 Not Found"


async def test_when_the_other_application_ends_its_clients_are_told(
    aiohttp_server: Serve,
) -> None:
    outer = web.Application()
    outer.add_subapp("/notify", create_app(alone()))
    server = await aiohttp_server(outer)
    async with connect(f"ws://127.0.0.1:{server.port}/notify/ws") as ws:
        await server.close()
        await ws.wait_closed()
        assert ws.close_code == 1012
