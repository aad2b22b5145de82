"""`/health` in one piece: byte for byte what aiohttp would have sent."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.typedefs import Middleware
from pytest_aiohttp import AiohttpServer

from aionotify.endpoints.ready import ReadyJson

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY = b'{"status":"healthy"}'


async def ready(request: web.Request) -> web.Response:
    return ReadyJson(BODY)


async def ordinary(request: web.Request) -> web.Response:
    return web.Response(body=BODY, content_type="application/json")


def application(*middlewares: Middleware) -> web.Application:
    app = web.Application(middlewares=middlewares)
    app.add_routes([web.get("/ready", ready), web.get("/ordinary", ordinary)])
    return app


async def exchange(port: int, *requests: bytes) -> bytes:
    """Send requests all at once; what comes until the connection ends, without its dates."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(requests))
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    lines = [line for line in answer.split(b"\r\n") if not line.startswith(b"Date: ")]
    assert len(lines) == answer.count(b"\r\n") + 1 - answer.count(b"\r\nDate: ")
    assert answer.count(b" GMT\r\n") == len(requests)
    return b"\r\n".join(lines)


GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param([GET, LAST], id="kept"),
        pytest.param([GET, GET, GET, LAST], id="pipelined"),
        pytest.param([LAST], id="closed"),
        pytest.param([b"HEAD %b HTTP/1.1\r\nHost: localhost\r\n\r\n", LAST], id="HEAD"),
        pytest.param([b"GET %b HTTP/1.0\r\n\r\n"], id="HTTP/1.0"),
        pytest.param([b"GET %b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", LAST], id="1.0 kept"),
    ],
)
async def test_same_bytes(aiohttp_server: AiohttpServer, requests: list[bytes]) -> None:
    server = await aiohttp_server(application())
    assert server.port
    answers = [
        await exchange(server.port, *(each % path for each in requests))
        for path in (b"/ready", b"/ordinary")
    ]
    assert answers[0] == answers[1]
    assert b"HTTP/1.1 200 OK\r\n" in answers[0] or b"HTTP/1.0 200 OK\r\n" in answers[0]


async def test_is_written_at_once(aiohttp_server: AiohttpServer) -> None:
    response = ReadyJson(BODY)

    async def handler(request: web.Request) -> web.Response:
        return response

    app = web.Application()
    app.router.add_get("/", handler)
    server = await aiohttp_server(app)
    assert server.port
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(GET % b"/")
    assert (await asyncio.wait_for(reader.readuntil(BODY), 5)).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not response.prepared
    writer.close()
    await writer.wait_closed()


async def test_header_of_a_middleware(aiohttp_server: AiohttpServer) -> None:
    @web.middleware
    async def add(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        response.headers["X-Added"] = "yes"
        return response

    server = await aiohttp_server(application(add))
    assert server.port
    answer = await exchange(server.port, GET % b"/ready", LAST % b"/ready")
    assert answer.count(b"X-Added: yes\r\n") == 2


async def test_header_of_a_signal(aiohttp_server: AiohttpServer) -> None:
    async def add(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Added"] = "yes"

    app = application()
    app.on_response_prepare.append(add)
    server = await aiohttp_server(app)
    assert server.port
    answer = await exchange(server.port, GET % b"/ready", LAST % b"/ready")
    assert answer.count(b"X-Added: yes\r\n") == 2
