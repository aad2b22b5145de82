"""HTTP connections: idle, half-closed and stalled ones, stopping, errors outside our handlers."""

import asyncio
import contextlib
import re
import signal
import sys
import time

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from websockets.asyncio.client import connect

import aionotify.server
from aionotify.app import create_app
from aionotify.http import protocol
from aionotify.settings import Settings
from tests.support import Answer, alone, converse, eventually, exchange, free_port
from tests.support.raw_client import handshake
from tests.support.serving import serving

EAGER = sys.version_info >= (3, 12)  # aiohttp then answers before it can read the end of the input

TIMEOUT = 0.1
"""Seconds of the timeouts in the tests that wait for them."""

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /notifications HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"

CLOSE_FRAME = b"\x88"
"""The first byte of a close frame."""

HUGE = 8 * 1024 * 1024
"""Length of a response that does not fit into the buffers of the kernel."""

HALVES = {
    "nothing": b"",
    "half a line": b"GET /hea",
    "half a header": b"GET /health HTTP/1.1\r\nHost: localhost\r\nAccept",
    "a header less than the end": b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
}


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half requests are given up, and bodies drained, after `TIMEOUT` seconds."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", TIMEOUT)
    monkeypatch.setattr(protocol, "LINGERING_TIMEOUT", TIMEOUT)


def add_route(monkeypatch: pytest.MonkeyPatch, path: str, handler: Handler) -> None:
    """Let `serve` have one more route."""

    def create(settings: Settings) -> web.Application:
        app = create_app(settings)
        app.router.add_get(path, handler)
        return app

    monkeypatch.setattr(aionotify.server, "create_app", create)


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
async def test_half_request_times_out(half: bytes) -> None:
    async with serving() as port:
        before = time.monotonic()
        assert await converse(port, half) == b""
        assert time.monotonic() - before >= TIMEOUT * 0.9


@pytest.mark.usefixtures("short_timeouts")
async def test_trickled_head_times_out() -> None:
    """The whole head must arrive in time; single bytes do not restart the timeout."""
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        end = asyncio.create_task(reader.read())

        def trickle() -> bool:
            writer.write(b"x")
            return end.done()

        await eventually(trickle)
        with contextlib.suppress(ConnectionResetError):
            assert await end == b""
        writer.close()


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
async def test_used_connection_times_out(half: bytes) -> None:
    """After a response, the keep-alive time-out counts, which is longer than that of a head."""
    async with serving(alone(port=free_port(), keepalive_timeout=2 * TIMEOUT)) as port:
        before = time.monotonic()
        answer = await converse(port, GET + half)
        assert time.monotonic() - before >= 2 * TIMEOUT * 0.9
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b'running!"}')


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize(
    "announced", [b"Content-Length: 100", b"Transfer-Encoding: chunked"], ids=repr
)
@pytest.mark.parametrize("path", [b"/", b"/nope", b"/ws"])
async def test_missing_body_is_not_waited_for(announced: bytes, path: bytes) -> None:
    """The response is sent at once, and the connection is closed after the idle timeout."""
    async with serving() as port:
        request = b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % (path, announced)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        async with asyncio.timeout(5):
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 ")
            assert await reader.read() == b""
        writer.close()


@pytest.mark.usefixtures("short_timeouts")
async def test_websocket_is_never_idle() -> None:
    async with serving() as port, connect(f"ws://127.0.0.1:{port}/ws") as client:
        assert await converse(port, b"") == b""  # takes as long as the idle timeout
        assert await converse(port, b"") == b""
        await client.send("admin:still there")
        assert await asyncio.wait_for(client.recv(), 5) == "[Notification] still there"


async def half_closed(port: int, request: bytes) -> bytes:
    """Send `request`, end the sending half of the connection, and return the rest."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def test_half_closed_client_gets_every_response() -> None:
    """As with `printf … | nc -N`."""
    async with serving() as port:
        answer = await half_closed(port, POST % (1, b"a") + POST % (1, b"b"))
        assert answer.count(b"HTTP/1.1 201 Created\r\n") == 2
        assert EAGER or answer.count(b"Connection: close\r\n") == 1
        assert answer.endswith(b'"message":"b"}')


@pytest.mark.parametrize("framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"], ids=repr)
async def test_half_closed_body_is_400(framing: bytes) -> None:
    async with serving() as port:
        head = b"POST /notifications HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % framing
        answer = await half_closed(port, head + b"5\r\nHel")
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert answer.endswith(b'match its Transfer-Encoding or Content-Length."}')


@pytest.mark.parametrize("request_", [b"", GET[:9], b"GET /events" + GET[5:], handshake()])
async def test_half_closed_client_gets_no_stream(request_: bytes) -> None:
    """A client that has left looks the same until something is sent to it."""
    async with serving() as port:
        answer = await half_closed(port, request_)  # and so the connection ends, in any case
        assert answer == b"" or (EAGER and answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")))


async def test_unread_response_stalls(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def huge(request: web.Request) -> web.Response:
        return web.Response(body=bytes(HUGE))

    add_route(monkeypatch, "/huge", huge)
    caplog.set_level("INFO", "aionotify")
    async with serving(alone(port=free_port(), stall_timeout=TIMEOUT)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(GET.replace(b"/", b"/huge", 1))
        await eventually(lambda: "no data accepted" in caplog.text)
        assert re.search(
            r"disconnected client 127\.0\.0\.1:\d+: no data accepted for 0\.1 s", caplog.text
        )
        metrics = await exchange(port, b"GET /metrics HTTP/1.1")
        assert b'aionotify_cut_off_total{reason="stalled"} 1.0\n' in metrics.body
        assert len(await reader.read()) < HUGE
        writer.close()


async def test_slow_reader_is_not_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while it reads, nor when it has read everything and is idle."""

    async def huge(request: web.Request) -> web.Response:
        return web.Response(body=bytes(HUGE))

    add_route(monkeypatch, "/huge", huge)
    async with serving(alone(port=free_port(), stall_timeout=TIMEOUT)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b"/", b"/huge", 1))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b"Content-Length: %d\r\n" % HUGE in head
        for _ in range(8):
            await asyncio.wait_for(reader.readexactly(HUGE // 8), 5)
            await asyncio.sleep(TIMEOUT / 7)
        await asyncio.sleep(TIMEOUT * 1.2)
        writer.write(GET)
        assert await asyncio.wait_for(reader.readuntil(b"\r\n"), 5) == b"HTTP/1.1 200 OK\r\n"
        writer.close()


async def test_stop_closes_idle_connection_at_once() -> None:
    """While a client takes its time to leave, and without swallowing another request."""
    async with serving() as port:
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        idle_writer.write(GET)
        await idle.readuntil(b"}")
        client, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake())
        await client.readuntil(b"\r\n\r\n")
        signal.raise_signal(signal.SIGTERM)
        assert await asyncio.wait_for(idle.read(), 2) == b""
        assert (
            await client.readexactly(1) == CLOSE_FRAME
        )  # it was asked to leave, and has not answered
        writer.transport.abort()
        idle_writer.close()


@pytest.mark.parametrize("arrives", [True, False])
async def test_stop_answers_request_whose_body_is_arriving(arrives: bool) -> None:
    async with serving(alone(port=free_port(), shutdown_grace=TIMEOUT)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head, body = (POST % (5, b"Hello")).split(b"\r\n\r\n")
        writer.write(head + b"\r\nExpect: 100-continue\r\n\r\n")
        await reader.readuntil(b"100 Continue\r\n\r\n")
        client, client_writer = await asyncio.open_connection("127.0.0.1", port)
        client_writer.write(handshake())
        await client.readuntil(b"\r\n\r\n")
        writer.write(body[:2])
        signal.raise_signal(signal.SIGTERM)
        assert await client.readexactly(1) == CLOSE_FRAME
        if arrives:
            writer.write(body[2:])
        answer = await asyncio.wait_for(reader.read(), 3)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 5\r\n" in answer
        assert b"\r\nConnection: close\r\n" in answer
        writer.close()
        client_writer.close()


async def test_unknown_expectation_gets_json() -> None:
    async with serving() as port:
        answer = await exchange(port, b"GET / HTTP/1.1", b"Expect: miracles")
        assert answer == Answer(
            b"HTTP/1.1 417 Expectation Failed",
            (b"Content-Type: application/json", b"Content-Length: 37", b"Connection: close"),
            b'{"detail":"Unknown Expect: miracles"}',
        )


async def test_connect_without_target_gets_405() -> None:
    """aiohttp alone neither responds to it nor closes the connection."""
    async with serving() as port:
        answer = await converse(port, b"CONNECT \r\n\r\n")
        assert answer.startswith(b"HTTP/0.9 405 Method Not Allowed\r\n")


@pytest.mark.parametrize("accept", [b"*/*", b"text/html"])
async def test_unhandled_exception_gets_json_and_traceback(
    accept: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(request: web.Request) -> web.Response:
        raise LookupError("<of ours>")

    add_route(monkeypatch, "/broken", broken)
    async with serving() as port:
        answer = await exchange(port, b"GET /broken HTTP/1.1", b"Accept: " + accept)
        assert answer == Answer(
            b"HTTP/1.1 500 Internal Server Error",
            (b"Content-Type: application/json", b"Content-Length: 34", b"Connection: close"),
            b'{"detail":"Internal Server Error"}',
        )
        assert "LookupError: <of ours>" in caplog.text
        assert (await exchange(port, b"GET / HTTP/1.1")).status == b"HTTP/1.1 200 OK"


async def test_exception_cuts_started_response(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A second response behind half of the first would be taken for the rest of its body."""

    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise LookupError("of ours")

    add_route(monkeypatch, "/broken", broken)
    async with serving() as port:
        answer = await converse(port, b"GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"half\r\n")
        assert "LookupError: of ours" in caplog.text
