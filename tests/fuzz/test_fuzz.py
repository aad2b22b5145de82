"""Nothing that a stranger sends does harm: a short fuzz run, and what longer ones have found."""

import asyncio
import contextlib
import gzip
import os
import socket
import struct
from collections.abc import AsyncIterator
from unittest.mock import Mock

import pytest

from aionotify.encoders import TEXT
from aionotify.websocket import WebSocketSubscriber
from tests.fuzz.__main__ import CHUNKED, HANDSHAKE, check_log, files, frame, fuzz, post
from tests.support import ROOT, ServerProcess, eventually, running_server

SECONDS = 12.0
"""`python -m tests.fuzz` goes on for longer."""


@pytest.mark.timeout(60)  # the run, and what is open at its end being closed
async def test_strangers_do_no_harm() -> None:
    await fuzz(seed=5, seconds=SECONDS)


BROKE = {
    "a body that is not gzip": (
        post(b"no gzip at all", b"Content-Encoding: gzip"),
        b"HTTP/1.1 400 Bad Request\r\n",
    ),
    "a body that is unpacked for nobody": (
        b"GET" + post(gzip.compress(b"\0" * 50_000_000), b"Content-Encoding: gzip")[4:],
        b"HTTP/1.1 200 OK\r\n",
    ),
    "a chunk without a size": (CHUNKED + b"\r\nzz\r\nHello", b"HTTP/1.0 400 Bad Request\r\n"),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\r\n\r\n", b"HTTP/1.0 400 Bad Request\r\n"),
    "a header that is none": (b"GET / HTTP/1.1\r\nx\r\n\r\n", b"HTTP/1.0 400 Bad Request\r\n"),
    "a CONNECT to nowhere": (b"CONNECT \r\n\r\n", b"HTTP/0.9 405 Method Not Allowed\r\n"),
    "an Expect that is not Unicode": (
        post(b"Hello", b"Expect: \xae"),
        b"HTTP/1.1 500 Internal Server Error\r\n",
    ),
    "a since of a million digits": (
        b"GET /notifications?since=" + b"9" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"HTTP/1.0 400 Bad Request\r\n",
    ),
}
"""Each was once a traceback in the log, a connection that nobody closed, or a loop that stood."""


@pytest.mark.parametrize("name", BROKE)
async def test_what_once_broke_something_over_http(name: str) -> None:
    data, first_line = BROKE[name]
    async with running_server({"MEMCACHED_HOST": "127.0.0.1:1"}) as server:
        async with connection(server) as (reader, writer):
            writer.write(data)
            assert await asyncio.wait_for(reader.readline(), 5) == first_line
        await ends_well(server)


async def test_a_chunk_without_a_size_in_the_middle_of_a_body() -> None:
    """The parser in Python, which serves where there is none in C, tells the one who reads."""
    environment = {"MEMCACHED_HOST": "127.0.0.1:1", "AIOHTTP_NO_EXTENSIONS": "1"}
    async with running_server(environment) as server:
        async with connection(server) as (reader, writer):
            writer.write(CHUNKED + b"\r\n5\r\nHello\r\n")
            await answers(server)
            writer.write(b"zz\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert answer.endswith(b'{"detail":"The body does not match its Transfer-Encoding."}')
        await ends_well(server)


async def test_a_body_that_breaks_off() -> None:
    async with running_server({"MEMCACHED_HOST": "127.0.0.1:1"}) as server:
        before = files(server)
        for _ in range(20):
            async with connection(server) as (_, writer):
                writer.write(post(b"Hello").replace(b"Hello", b"H"))
                await writer.drain()
                await answers(server)
        await eventually(lambda: files(server) <= before + 1, 5, "all files are closed")
        await ends_well(server)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_websocket_that_is_reset_while_it_is_told_what_it_did(
    loop: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What breaks the protocol comes in a later turn than what is dealt with before it."""
    data = frame(0x81, b"x") * 200 + frame(0x01, b"a") + frame(0x81, b"b")
    environment = {"MEMCACHED_HOST": "127.0.0.1:1"}
    if loop == "asyncio":
        folder = tmp_path_factory.mktemp("without")
        (folder / "uvloop.py").write_text("raise ImportError", encoding="utf-8")
        environment["PYTHONPATH"] = f"{folder}{os.pathsep}{ROOT}"
    async with running_server(environment) as server:
        for _ in range(100):
            async with connection(server) as (reader, writer):
                writer.write(HANDSHAKE % b"")
                await reader.readuntil(b"\r\n\r\n")
                connected = writer.get_extra_info("socket")
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.write(data)
                await asyncio.sleep(0)
        await answers(server)
        await ends_well(server)


async def test_a_websocket_that_is_reset_right_before_its_end_is_told() -> None:
    """Where the event loop shuts the socket down at once: too late, which is no error of ours."""
    transport = Mock(spec=asyncio.Transport)
    transport.is_closing.return_value = False
    transport.write_eof.side_effect = OSError(107, "Transport endpoint is not connected")

    async def receive(subscriber: WebSocketSubscriber, text: str) -> None:
        raise AssertionError

    subscriber = WebSocketSubscriber(
        TEXT, 30, admin=False, topic="main", limit=100, receive=receive
    )
    subscriber.connection_made(transport)
    subscriber.data_received(frame(0x83))
    transport.write_eof.assert_called_once_with()
    subscriber.connection_lost(None)


@contextlib.asynccontextmanager
async def connection(
    server: ServerProcess,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that ends without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def answers(server: ServerProcess) -> None:
    """It still does what it is there for."""
    async with connection(server) as (reader, writer):
        writer.write(b"GET /health HTTP/1.0\r\n\r\n")
        assert b" 200 OK\r\n" in await asyncio.wait_for(reader.read(), 5)


async def ends_well(server: ServerProcess) -> None:
    """It answers, ends when it is told to, and has nothing to say about strangers."""
    await answers(server)
    assert await server.stop() == 0
    check_log(server.output())
    assert "socket.send() raised" not in server.output()
