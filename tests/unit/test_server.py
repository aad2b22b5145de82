"""The sockets: where it listens, what it prints about it, and connections that lead to nothing."""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from websockets.asyncio.client import connect

import aionotify.server
from aionotify.endpoints.status import Status
from aionotify.server import serve
from aionotify.settings import Settings
from tests.support import (
    Answer,
    alone,
    converse,
    eventually,
    exchange,
    free_port,
    running_server,
)

TIMEOUT = 0.3
"""What is left of the idle time-out here."""


@asynccontextmanager
async def serving(settings: Settings | None = None) -> AsyncIterator[int]:
    """`serve` in this process; the port. Ended by SIGTERM, with exit status 0."""
    settings = settings or alone(port=free_port())
    task = asyncio.create_task(serve(settings))

    async def listening() -> bool:
        assert not task.done(), task.result()
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", settings.port)
            writer.close()
            return True
        return False

    try:
        await eventually(listening)
        yield settings.port
    finally:
        signal.raise_signal(signal.SIGTERM)
        assert await asyncio.wait_for(task, 5) == 0


def nowhere() -> dict[str, str]:
    """An environment with which no memcached is found."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{free_port()}"}


def urls(output: str) -> list[tuple[str, str]]:
    """Those that were printed, as pairs of an http:// and a ws:// one."""
    pairs = []
    for line in output.splitlines():
        _, found, rest = line.partition("listening on ")
        if found:
            http, and_, ws = rest.split()[:3]
            assert and_ == "and"
            pairs.append((http, ws))
    return pairs


async def can_be_pasted(http: str, ws: str) -> None:
    """Both lead to the server."""
    async with aiohttp.ClientSession() as session, session.get(http) as response:
        assert await response.text() == '{"message":"FastAPI real-time notifications running!"}'
    async with connect(f"{ws}?client=admin") as client:
        await client.send("Hello")
        async with asyncio.timeout(5):
            while await client.recv() != "[Notification] Hello":
                pass


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


async def test_localhost_is_127_0_0_1_and_where_there_is_ipv6_also_1() -> None:
    async with running_server(nowhere(), "--host", "localhost") as server:
        addresses = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]
        for address in addresses:
            _, writer = await asyncio.open_connection(address, server.port)
            writer.close()
        pairs = urls(server.output())
        names = ["localhost", "[::1]"][: len(addresses)]
        assert pairs == [
            (f"http://{name}:{server.port}", f"ws://{name}:{server.port}/ws") for name in names
        ]
        for pair in pairs:
            await can_be_pasted(*pair)


async def test_localhost_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    create_server = socket.create_server

    def without_ipv6(address: tuple[str, int], **named: int) -> socket.socket:
        if named["family"] == socket.AF_INET6:
            raise OSError(99, "Cannot assign requested address")
        return create_server(address, family=named["family"], backlog=named["backlog"])

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    async with serving(alone(host="localhost", port=free_port())) as port:
        assert (await exchange(port, b"GET / HTTP/1.1")).status == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")],
)
async def test_the_urls_can_be_pasted_whatever_the_host(host: str, shown: str) -> None:
    async with running_server(nowhere(), "--host", host) as server:
        (pair,) = urls(server.output())
        assert pair == (f"http://{shown}:{server.port}", f"ws://{shown}:{server.port}/ws")
        await can_be_pasted(*pair)
        everywhere = " (on every address of this machine)\n" in server.output()
        assert everywhere == (host == "0.0.0.0")


@pytest.mark.parametrize("host", ["::1", "::"])
async def test_an_ipv6_address_stands_in_brackets(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    if not has_ipv6():
        line = await refused(alone(host=host, port=1234), caplog)
        assert line.startswith(f"cannot listen on [{host}]:1234: ")
        return
    async with running_server(nowhere(), "--host", host) as server:
        (pair,) = urls(server.output())
        assert pair == (f"http://[::1]:{server.port}", f"ws://[::1]:{server.port}/ws")
        await can_be_pasted(*pair)


async def test_port_0_picks_a_free_one_for_each_server() -> None:
    async with running_server(nowhere()) as one, running_server(nowhere()) as two:
        assert 0 not in (one.port, two.port)
        assert one.port != two.port


async def refused(settings: Settings, caplog: pytest.LogCaptureFixture) -> str:
    """The line with which it ends at once, with exit status 2."""
    assert await serve(settings) == 2
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    return record.getMessage()


HELP = "; choose another with AIONOTIFY_HOST and AIONOTIFY_PORT"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_port_in_use(host: str, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = await refused(alone(host=host, port=port), caplog)
        assert line == f"cannot listen on {host}:{port}: Address already in use{HELP}"


async def test_an_address_that_is_not_ours(caplog: pytest.LogCaptureFixture) -> None:
    line = await refused(alone(host="192.0.2.1", port=1234), caplog)
    assert line == f"cannot listen on 192.0.2.1:1234: Cannot assign requested address{HELP}"


async def test_a_name_that_is_not_known(caplog: pytest.LogCaptureFixture) -> None:
    line = await refused(alone(host="no.such.host.invalid", port=1234), caplog)
    assert line.startswith("cannot listen on no.such.host.invalid:1234: ")
    assert line.endswith(HELP)


async def test_a_port_in_use_seen_from_outside() -> None:
    """One line and exit status 2; the other program keeps the port."""
    async with running_server(nowhere()) as server:
        with pytest.raises(AssertionError) as caught:
            async with running_server(nowhere(), "--port", str(server.port)):
                pass
        printed = str(caught.value).partition("\n")[0]
        assert f"cannot listen on 127.0.0.1:{server.port}: Address already in use{HELP}" in printed
        assert (await exchange(server.port, b"GET / HTTP/1.1")).status == b"HTTP/1.1 200 OK"


# ------------------------------------------------------------- connections that lead to nothing


HALVES = {
    "nothing": b"",
    "half a line": b"GET /hea",
    "half a header": b"GET /health HTTP/1.1\r\nHost: localhost\r\nAccept",
    "a header less than the end": b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
async def test_half_a_request_is_closed_after_the_idle_time_out(
    half: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aionotify.server, "IDLE_TIMEOUT", TIMEOUT)
    async with serving() as port:
        before = time.monotonic()
        assert await converse(port, half) == b""
        assert time.monotonic() - before >= TIMEOUT * 0.9


async def test_a_header_that_comes_byte_by_byte_is_closed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the whole header that has to be there in time, not the next byte of it."""
    monkeypatch.setattr(aionotify.server, "IDLE_TIMEOUT", TIMEOUT)
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


async def test_a_connection_that_was_used_is_closed_after_the_idle_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aionotify.server, "IDLE_TIMEOUT", TIMEOUT)
    async with serving() as port:
        for half in HALVES.values():
            answer = await converse(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + half)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b'running!"}')


@pytest.mark.parametrize(
    "announced", [b"Content-Length: 100", b"Transfer-Encoding: chunked"], ids=repr
)
@pytest.mark.parametrize("path", [b"/", b"/nope", b"/ws"])
async def test_a_body_that_never_arrives_is_not_waited_for(
    announced: bytes, path: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes at once, the end after the idle time-out."""
    monkeypatch.setattr(aionotify.server, "IDLE_TIMEOUT", TIMEOUT)
    async with serving() as port:
        request = b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % (path, announced)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        async with asyncio.timeout(5):
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 ")
            assert await reader.read() == b""
        writer.close()


async def test_a_websocket_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aionotify.server, "IDLE_TIMEOUT", TIMEOUT)
    async with serving() as port, connect(f"ws://127.0.0.1:{port}/ws") as client:
        assert await converse(port, b"") == b""  # this long it takes
        assert await converse(port, b"") == b""
        await client.send("admin:still there")
        assert await asyncio.wait_for(client.recv(), 5) == "[Notification] still there"


# --------------------------------------------------------- errors that no handler of ours answers


BROKEN = {
    b"nonsense\r\n\r\n": b"Invalid method encountered",
    b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n": b"Invalid method encountered",
    b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n": b"Missing 'Host' header in request",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n": b"Invalid header token",
    b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n": b"Invalid char in url path",
    b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n": b"Got more than 8190 bytes when reading",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": b"Received HTTPS traffic on an HTTP port",
}


@pytest.mark.parametrize(("request_", "problem"), BROKEN.items(), ids=range(len(BROKEN)))
async def test_what_is_no_http_is_answered_in_json(request_: bytes, problem: bytes) -> None:
    async with serving() as port:
        head, _, body = (await converse(port, request_)).partition(b"\r\n\r\n")
        status, *headers = head.split(b"\r\n")
        assert status.endswith(b" 400 Bad Request")
        assert b"Content-Type: application/json" in headers
        assert body == (
            b'{"detail":"This is no HTTP request that can be understood (%b)."}' % problem
        )


async def test_an_expectation_that_cannot_be_met_is_answered_in_json() -> None:
    async with serving() as port:
        answer = await exchange(port, b"GET / HTTP/1.1", b"Expect: miracles")
        assert answer == Answer(
            b"HTTP/1.1 417 Expectation Failed",
            (b"Content-Type: application/json", b"Content-Length: 37", b"Connection: close"),
            b'{"detail":"Unknown Expect: miracles"}',
        )


@pytest.mark.parametrize("accept", [b"*/*", b"text/html"])
async def test_an_error_of_ours_is_answered_in_json_and_logged_with_its_traceback(
    accept: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: Status, request: web.Request) -> web.Response:
        raise LookupError("<of ours>")

    monkeypatch.setattr(Status, "health", broken)
    async with serving() as port:
        answer = await exchange(port, b"GET /health HTTP/1.1", b"Accept: " + accept)
        assert answer == Answer(
            b"HTTP/1.1 500 Internal Server Error",
            (b"Content-Type: application/json", b"Content-Length: 34", b"Connection: close"),
            b'{"detail":"Internal Server Error"}',
        )
        assert "LookupError: <of ours>" in caplog.text
        assert (await exchange(port, b"GET / HTTP/1.1")).status == b"HTTP/1.1 200 OK"


async def test_an_answer_that_has_begun_is_cut_short_by_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A second answer behind half of the first would be taken for its rest."""

    async def broken(self: Status, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise LookupError("of ours")

    monkeypatch.setattr(Status, "health", broken)
    async with serving() as port:
        answer = await converse(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"half\r\n")
        assert "LookupError: of ours" in caplog.text
