"""`GET /` and `GET /health`, and the errors and redirects of every path, byte for byte."""

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from websockets.asyncio.client import connect

from aionotify.app import create_app
from aionotify.net import Address
from tests.support import MemcachedProcess, alone, eventually, exchange

Serve = Callable[[web.Application], Awaitable[TestServer]]

OK = b"HTTP/1.1 200 OK"
GREETING = b'{"message":"FastAPI real-time notifications running!"}'
HEALTH = (
    b'{"status":"healthy","cache_status":"%b",'
    b'"recent_notifications_count":%d,"connected_websockets":%d}'
)
PATHS = [b"/", b"/health", b"/messages", b"/ws"]


@pytest.fixture
async def port(aiohttp_server: Serve) -> int:
    """Where a server without memcached listens."""
    port = (await aiohttp_server(create_app(alone()))).port
    assert port is not None
    return port


def json_headers(length: int) -> tuple[bytes, ...]:
    """Those of every answer in JSON."""
    return (
        b"Content-Type: application/json",
        b"Content-Length: %d" % length,
        b"Connection: close",
    )


async def test_the_greeting(port: int) -> None:
    answer = await exchange(port, b"GET / HTTP/1.1")
    assert answer == (OK, json_headers(54), GREETING)


async def test_the_health_of_a_server_without_memcached(port: int) -> None:
    answer = await exchange(port, b"GET /health HTTP/1.1")
    assert answer == (OK, json_headers(102), HEALTH % (b"fallback", 0, 0))


@pytest.mark.parametrize(
    ("path", "length"), [(b"/", 54), (b"/health", 102), (b"/messages", 22)], ids=repr
)
async def test_head_answers_as_get_does_without_a_body(port: int, path: bytes, length: int) -> None:
    got = await exchange(port, b"GET %b HTTP/1.1" % path)
    assert await exchange(port, b"HEAD %b HTTP/1.1" % path) == (OK, json_headers(length), b"")
    assert (got.status, got.headers) == (OK, json_headers(length))


async def test_a_query_changes_nothing(port: int) -> None:
    assert (await exchange(port, b"GET /?a=b HTTP/1.1")).body == GREETING


async def test_the_health_counts_recents_and_clients_of_both_kinds(
    aiohttp_server: Serve, memcached: MemcachedProcess
) -> None:
    hosts = (Address("127.0.0.1", memcached.port),)
    port = (await aiohttp_server(create_app(alone(memcached_hosts=hosts)))).port
    assert port is not None

    async def health() -> bytes:
        return (await exchange(port, b"GET /health HTTP/1.1")).body

    assert await health() == HEALTH % (b"connected", 0, 0)
    async with connect(f"ws://127.0.0.1:{port}/ws?client=admin") as admin:
        async with connect(f"ws://127.0.0.1:{port}/ws") as user:
            assert await health() == HEALTH % (b"connected", 0, 2)
            for number in range(7):
                await admin.send(f"{number}")
                await user.recv()
            assert await health() == HEALTH % (b"connected", 5, 2)

        async def left() -> bool:
            return await health() == HEALTH % (b"connected", 5, 1)

        await eventually(left)


@pytest.mark.parametrize(
    "target",
    [b"/nope", b"/Health", b"/health/x", b"//", b"//health", b"/;/health", b"/%00"],
    ids=repr,
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"OPTIONS"])
async def test_an_unknown_path(port: int, method: bytes, target: bytes) -> None:
    answer = await exchange(port, b"%b %b HTTP/1.1" % (method, target))
    assert answer == (b"HTTP/1.1 404 Not Found", json_headers(22), b'{"detail":"Not Found"}')


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
async def test_a_known_path_and_the_wrong_method(port: int, method: bytes, path: bytes) -> None:
    answer = await exchange(port, b"%b %b HTTP/1.1" % (method, path))
    assert answer == (
        b"HTTP/1.1 405 Method Not Allowed",
        (b"Allow: GET, HEAD", *json_headers(31)),
        b'{"detail":"Method Not Allowed"}',
    )


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b"/health/", b"/health"),
        (b"/messages/", b"/messages"),
        (b"/ws/", b"/ws"),
        (b"/health//", b"/health"),
        (b"/health%2F", b"/health"),
        (b"/he%61lth/", b"/health"),
        (b"http://elsewhere.example/health/?a=1", b"/health?a=1"),
        (b"/ws/?client=admin", b"/ws?client=admin"),
        (b"/health/?", b"/health"),
        (b"/health/?a=%20b&c&d=%c3%A9+f&&=?", b"/health?a=%20b&c&d=%c3%A9+f&&=?"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_known_path_with_a_slash_behind_is_redirected_with_its_query(
    port: int, method: bytes, target: bytes, location: bytes
) -> None:
    answer = await exchange(port, b"%b %b HTTP/1.1" % (method, target))
    assert answer == (
        b"HTTP/1.1 307 Temporary Redirect",
        (b"Location: " + location, b"Content-Length: 0", b"Connection: close"),
        b"",
    )


async def test_a_path_may_be_percent_encoded(port: int) -> None:
    answer = await exchange(port, b"GET /he%61lth HTTP/1.1")
    assert answer == (OK, json_headers(102), HEALTH % (b"fallback", 0, 0))


async def test_head_is_redirected_as_well(port: int) -> None:
    answer = await exchange(port, b"HEAD /health/?a=1 HTTP/1.1")
    assert answer.status == b"HTTP/1.1 307 Temporary Redirect"
    assert answer.headers[0] == b"Location: /health?a=1"
