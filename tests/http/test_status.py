"""`GET /`, `GET /health`, and the errors and redirects of every path, byte for byte."""

import pytest

from aionotify.net import Address
from tests.support import MemcachedProcess, converse, eventually, exchange
from tests.support.app import Serve
from tests.support.serving import serving

OK = b"HTTP/1.1 200 OK"
GREETING = b'{"message":"FastAPI real-time notifications running!"}'
HEALTH = (
    b'{"status":"healthy","cache_status":"%b",'
    b'"recent_notifications_count":%d,"connected_websockets":%d}'
)
BACKEND = b"Aionotify-Backend: memcached"
"""A header of `/health`, whose body cannot say what `cache_status` is about."""
PATHS = [b"/", b"/health", b"/messages", b"/ws"]


def json_headers(length: int) -> tuple[bytes, ...]:
    """Return the headers of a JSON response."""
    return (
        b"Content-Type: application/json",
        b"Content-Length: %d" % length,
        b"Connection: close",
    )


async def test_greeting_is_exact(port: int) -> None:
    answer = await exchange(port, b"GET / HTTP/1.1")
    assert answer == (OK, json_headers(54), GREETING)


async def test_health_without_memcached(port: int) -> None:
    answer = await exchange(port, b"GET /health HTTP/1.1")
    assert answer == (OK, (BACKEND, *json_headers(102)), HEALTH % (b"fallback", 0, 0))


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close",
        b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: x\r\nConnection: close",
        b"GET / HTTP/9.9\r\nno header",
    ],
    ids=["200", "404", "417", "400"],
)
async def test_server_header_has_no_versions(request_head: bytes) -> None:
    """In no response, whether of a handler, of aiohttp, or to a malformed request."""
    async with serving() as port:
        head = (await converse(port, request_head + b"\r\n\r\n")).partition(b"\r\n\r\n")[0]
    assert [line for line in head.split(b"\r\n") if line.startswith(b"Server:")] == [
        b"Server: aionotify"
    ]
    assert b"aiohttp" not in head


@pytest.mark.parametrize(
    ("path", "length"), [(b"/", 54), (b"/health", 102), (b"/messages", 22)], ids=repr
)
async def test_head_equals_get_without_body(port: int, path: bytes, length: int) -> None:
    headers = (*([BACKEND] if path == b"/health" else []), *json_headers(length))
    got = await exchange(port, b"GET %b HTTP/1.1" % path)
    assert await exchange(port, b"HEAD %b HTTP/1.1" % path) == (OK, headers, b"")
    assert (got.status, got.headers) == (OK, headers)


async def test_query_is_ignored(port: int) -> None:
    assert (await exchange(port, b"GET /?a=b HTTP/1.1")).body == GREETING


async def test_health_counts_recents_and_websockets(
    serve: Serve, memcached: MemcachedProcess
) -> None:
    """Recent notifications, and WebSockets of admins and users alike."""
    running = await serve(memcached_hosts=(Address("127.0.0.1", memcached.port),))

    async def health() -> bytes:
        return (await exchange(running.port, b"GET /health HTTP/1.1")).body

    assert await health() == HEALTH % (b"connected", 0, 0)
    async with running.client("?client=admin") as admin:
        async with running.client() as user:
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
    [b"/nope", b"/Health", b"/health/x", b"//health/x", b"/;/health", b"/%00"],
    ids=repr,
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"OPTIONS"])
async def test_unknown_path_is_404(port: int, method: bytes, target: bytes) -> None:
    answer = await exchange(port, b"%b %b HTTP/1.1" % (method, target))
    assert answer == (b"HTTP/1.1 404 Not Found", json_headers(22), b'{"detail":"Not Found"}')


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
async def test_wrong_method_is_405(port: int, method: bytes, path: bytes) -> None:
    answer = await exchange(port, b"%b %b HTTP/1.1" % (method, path))
    assert answer == (
        b"HTTP/1.1 405 Method Not Allowed",
        (b"Allow: GET, HEAD", *json_headers(31)),
        b'{"detail":"Method Not Allowed"}',
    )


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b"/health/", b"../health"),
        (b"/messages/", b"../messages"),
        (b"//health", b"../health"),
        (b"//", b"../"),
        (b"/ws/", b"../ws"),
        (b"/health//", b"../../health"),
        (b"/health%2F", b"health"),
        (b"/he%61lth/", b"../health"),
        (b"http://elsewhere.example/health/?a=1", b"../health?a=1"),
        (b"/ws/?client=admin", b"../ws?client=admin"),
        (b"/health/?", b"../health"),
        (b"/health/?a=%20b&c&d=%c3%A9+f&&=?", b"../health?a=%20b&c&d=%c3%A9+f&&=?"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_superfluous_slash_redirects_with_query(
    port: int, method: bytes, target: bytes, location: bytes
) -> None:
    answer = await exchange(port, b"%b %b HTTP/1.1" % (method, target))
    assert answer == (
        b"HTTP/1.1 307 Temporary Redirect",
        (b"Location: " + location, b"Content-Length: 0", b"Connection: close"),
        b"",
    )


async def test_percent_encoded_path_matches(port: int) -> None:
    answer = await exchange(port, b"GET /he%61lth HTTP/1.1")
    assert answer == (OK, (BACKEND, *json_headers(102)), HEALTH % (b"fallback", 0, 0))


async def test_head_is_redirected(port: int) -> None:
    answer = await exchange(port, b"HEAD /health/?a=1 HTTP/1.1")
    assert answer.status == b"HTTP/1.1 307 Temporary Redirect"
    assert answer.headers[0] == b"Location: ../health?a=1"
