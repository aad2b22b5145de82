"""A short fuzz run, and the defects that longer ones have found."""

import asyncio
import contextlib
import gzip
import socket
import struct
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.fuzz.corpus import CHUNKED, frame, post
from tests.fuzz.run import fuzz
from tests.fuzz.watch import check_log, open_files
from tests.support import ServerProcess, eventually, running_server
from tests.support.environment import without_memcached, without_uvloop
from tests.support.raw_client import handshake

SECONDS = 12.0
"""`python -m tests.fuzz` runs for longer."""


async def test_fuzz_run_does_no_harm() -> None:
    await fuzz(seed=5, seconds=SECONDS)


DEFECTS = {
    "a body that is not gzip": (
        post(b"no gzip at all", b"Content-Encoding: gzip"),
        b"HTTP/1.1 400 Bad Request\r\n",
    ),
    "a large compressed body of a GET": (
        b"GET" + post(gzip.compress(b"\0" * 50_000_000), b"Content-Encoding: gzip")[4:],
        b"HTTP/1.1 200 OK\r\n",
    ),
    "a chunk without a size": (CHUNKED + b"\r\nzz\r\nHello", b"HTTP/1.0 400 Bad Request\r\n"),
    "a TLS handshake": (b"\x16\x03\x01\x02\x00\r\n\r\n", b"HTTP/1.0 400 Bad Request\r\n"),
    "a header without a colon": (b"GET / HTTP/1.1\r\nx\r\n\r\n", b"HTTP/1.0 400 Bad Request\r\n"),
    "a CONNECT without a target": (b"CONNECT \r\n\r\n", b"HTTP/0.9 405 Method Not Allowed\r\n"),
    "an Expect that is not Unicode": (
        post(b"Hello", b"Expect: \xae"),
        b"HTTP/1.1 500 Internal Server Error\r\n",
    ),
    "a since of a million digits": (
        b"GET /notifications?since=" + b"9" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        # Python 3.13 has renamed it.
        b"HTTP/1.0 414 %b\r\n" % HTTPStatus(414).phrase.encode(),
    ),
}
"""Each once caused a traceback in the log, a connection that stayed open, or a blocked loop."""


@pytest.mark.parametrize("name", DEFECTS)
async def test_http_defect_is_fixed(name: str) -> None:
    data, first_line = DEFECTS[name]
    async with running_server(without_memcached()) as server:
        async with connection(server) as (reader, writer):
            writer.write(data)
            assert await asyncio.wait_for(reader.readline(), 5) == first_line
        await check_clean_end(server)


async def test_invalid_chunk_within_body_is_rejected() -> None:
    """aiohttp's Python parser, the fallback for its C extension, raises the error in the reader."""
    environment = without_memcached(AIOHTTP_NO_EXTENSIONS="1")
    async with running_server(environment) as server:
        async with connection(server) as (reader, writer):
            writer.write(CHUNKED + b"\r\n5\r\nHello\r\n")
            await check_health(server)
            writer.write(b"zz\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            detail = b"The body does not match its Transfer-Encoding or Content-Length."
            assert answer.endswith(b'{"detail":"%b"}' % detail)
        await check_clean_end(server)


async def test_incomplete_bodies_leave_no_files() -> None:
    async with running_server(without_memcached()) as server:
        before = open_files(server)
        for _ in range(20):
            async with connection(server) as (_, writer):
                writer.write(post(b"Hello").replace(b"Hello", b"H"))
                await writer.drain()
                await check_health(server)
        await eventually(lambda: open_files(server) <= before + 1, 5, "all files are closed")
        await check_clean_end(server)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_reset_during_close_is_not_logged(loop: str, tmp_path: Path) -> None:
    """The client resets the connection while the server reports a protocol error.

    The error follows on 200 messages, so that the server sees it in a later turn of its loop.
    """
    data = frame(0x81, b"x") * 200 + frame(0x01, b"a") + frame(0x81, b"b")
    environment = without_memcached()
    if loop == "asyncio":
        environment |= without_uvloop(tmp_path)
    async with running_server(environment) as server:
        for _ in range(100):
            async with connection(server) as (reader, writer):
                writer.write(handshake())
                await reader.readuntil(b"\r\n\r\n")
                connected = writer.get_extra_info("socket")
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.write(data)
                await asyncio.sleep(0)
        await check_health(server)
        await check_clean_end(server)


@contextlib.asynccontextmanager
async def connection(
    server: ServerProcess,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to `server`. The connection is aborted when the block ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def check_health(server: ServerProcess) -> None:
    """AssertionError unless `server` answers a request for `/health`."""
    async with connection(server) as (reader, writer):
        writer.write(b"GET /health HTTP/1.0\r\n\r\n")
        assert b" 200 OK\r\n" in await asyncio.wait_for(reader.read(), 5)


async def check_clean_end(server: ServerProcess) -> None:
    """AssertionError unless `server` answers, stops cleanly, and has logged no error."""
    await check_health(server)
    assert await server.stop() == 0
    check_log(server.output())
    assert "socket.send() raised" not in server.output()
