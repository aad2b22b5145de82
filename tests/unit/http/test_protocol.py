"""HTTP connections: idle and half requests, errors outside our handlers, the log of aiohttp."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

import pytest
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.typedefs import Handler
from websockets.asyncio.client import connect

import aionotify.server
from aionotify.app import create_app
from aionotify.http import protocol
from aionotify.settings import Settings
from tests.support import Answer, converse, eventually, exchange
from tests.support.serving import serving

TIMEOUT = 0.1
"""Seconds of the idle timeout in the tests that wait for it."""

HALVES = {
    "nothing": b"",
    "half a line": b"GET /hea",
    "half a header": b"GET /health HTTP/1.1\r\nHost: localhost\r\nAccept",
    "a header less than the end": b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
}

BROKEN = {
    b"nonsense\r\n\r\n": b"Invalid method encountered",
    b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n": b"Invalid method encountered",
    b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n": b"Missing 'Host' header in request",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n": b"Invalid header token",
    b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n": b"Invalid char in url path",
    b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n": b"Got more than 8190 bytes when reading",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": b"Received HTTPS traffic on an HTTP port",
}


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections are closed, and bodies drained, after `TIMEOUT` seconds."""
    monkeypatch.setattr(protocol, "IDLE_TIMEOUT", TIMEOUT)
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
    async with serving() as port:
        answer = await converse(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + half)
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


@pytest.mark.parametrize(("request_", "problem"), BROKEN.items(), ids=range(len(BROKEN)))
async def test_malformed_request_gets_json(request_: bytes, problem: bytes) -> None:
    async with serving() as port:
        head, _, body = (await converse(port, request_)).partition(b"\r\n\r\n")
        status, *headers = head.split(b"\r\n")
        assert status.endswith(b" 400 Bad Request")
        assert b"Content-Type: application/json" in headers
        assert body == b'{"detail":"Malformed HTTP request (%b)."}' % problem


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


@pytest.fixture
def filtered(caplog: pytest.LogCaptureFixture) -> Iterator[logging.Logger]:
    """A logger with the filter, and everything from level debug on in `caplog`."""
    caplog.set_level(logging.DEBUG)
    logger = logging.getLogger("tests.filtered")
    logger.addFilter(protocol._drop_malformed_requests)
    yield logger
    logger.removeFilter(protocol._drop_malformed_requests)


@pytest.mark.parametrize(
    "error",
    [
        BadHttpMessage("a secret"),
        LineTooLong(b"a secret", 10),
        web.RequestPayloadError("a secret"),
        ConnectionResetError("a secret"),
        UnicodeEncodeError("utf-8", "Unknown Expect: a secret\udcff", 24, 25, "not allowed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_client_errors_are_one_line(
    error: Exception, filtered: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback, which quotes the request, becomes a line at level debug without it."""
    filtered.error("Error handling request from %s", "192.0.2.1", exc_info=error)
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == f"malformed or aborted request ({type(error).__name__})"
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "error",
    [None, LookupError("of ours"), UnicodeEncodeError("utf-8", "\udcff", 0, 1, "not allowed")],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_keep_their_traceback(
    error: Exception | None, filtered: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    filtered.error("Unhandled exception", exc_info=error)
    (record,) = caplog.records
    assert record.getMessage() == "Unhandled exception"
    assert record.exc_info is None or record.exc_info[1] is error


def test_filter_is_installed_once() -> None:
    """Several servers in one process share aiohttp's logger."""
    for _ in range(2):
        protocol.drop_malformed_requests()
    filters = logging.getLogger("aiohttp.server").filters
    assert filters.count(protocol._drop_malformed_requests) == 1


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (None, "Malformed HTTP request (bad request)."),
        ("", "Malformed HTTP request (bad request)."),
        (
            "Invalid header token:\n\n  b'a secret'\n     ^",
            "Malformed HTTP request (Invalid header token).",
        ),
        (
            "Got more than 10 bytes when reading: b'a secret'.",
            "Malformed HTTP request (Got more than 10 bytes when reading).",
        ),
    ],
)
def test_parser_message_drops_the_excerpt(message: str | None, sentence: str) -> None:
    assert protocol._parser_message(message) == sentence
