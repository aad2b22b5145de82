"""Hundreds of clients, some of which stop reading: their cost, and the end of the server."""

import asyncio
import contextlib
import resource
import selectors
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support import ServerProcess, eventually, running_server
from tests.support.client import connected_clients
from tests.support.environment import without_memcached, without_uvloop
from tests.support.raw_client import handshake

MIB = 1024 * 1024

STALLED_BUFFER = 4096
"""Bytes of the receive buffer of a client that stops reading, so that it stalls at once."""

FLOOD = 4096
"""Notifications of 64 KiB. Together they are 16 times the size of a full history (16 MiB), and 2.5
times the memory that the server may grow by, so that a buffer without a bound would be noticed."""

CLOSE_RESTART = b"\x88\x20\x03\xf4"
"""The start of the server's close frame with status 1012 (RFC 6455 §5.5.1)."""

CLOSE_ANSWER = b"\x88\x82\x00\x00\x00\x00\x03\xf4"
"""A client's close frame with status 1012, masked with zeros."""

LONGEST_CLOSE = 100
"""Bytes at the end of a stream that certainly contain the close frame."""


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Raise the limit on open files as far as this user may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= 6000, "raise the limit on open files: ulimit -Hn"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(params=["uvloop", "asyncio"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Variables with which the server runs on this event loop: their buffers differ."""
    return without_memcached() | (without_uvloop(tmp_path) if request.param == "asyncio" else {})


async def test_stalled_clients_stay_cheap(environment: dict[str, str]) -> None:
    """500 clients that read nothing cost a bounded amount of memory, and leave nothing behind.

    The allocator keeps the memory of the first crowd for the next one: 16 MiB for the history and,
    with asyncio's event loop, 31 MiB for buffers. So only the second one shows a leak.
    """
    async with running_server(environment | {"AIONOTIFY_STALL_TIMEOUT": "30"}) as server:
        before = resident_bytes(server)
        await come_and_go(server)
        once = resident_bytes(server)
        assert once - before < 64 * MIB
        await come_and_go(server)
        assert resident_bytes(server) - once < 500 * 32 * 1024
        assert "Traceback" not in server.output()


async def come_and_go(server: ServerProcess) -> None:
    """Let 500 clients stall until much more was published than they can have, and disconnect."""
    with crowd(server, 500, STALLED_BUFFER):
        before = resident_bytes(server)
        async with admin(server) as ws:
            await flood(ws, FLOOD, "x" * 64 * 1024)
            assert resident_bytes(server) - before < 100 * MIB

    async def all_are_gone() -> bool:
        return await connected_clients(server.url) == 0

    await eventually(all_are_gone)


async def test_shutdown_closes_crowd(environment: dict[str, str]) -> None:
    """1,800 clients are closed with 1012, although 200 stalled ones delay the end.

    The process ends within the grace and one second.
    """
    async with running_server(environment | {"AIONOTIFY_SHUTDOWN_GRACE": "2"}) as server:
        with crowd(server, 200, STALLED_BUFFER), crowd(server, 1800) as healthy:
            async with admin(server) as ws:
                await flood(ws, 10, "x" * 64 * 1024)
                reading = asyncio.create_task(asyncio.to_thread(read_to_the_end, healthy))
                started = time.monotonic()
                assert await server.stop() == 0
                assert time.monotonic() - started < 2 + 1
                codes = await reading
        assert codes == [1012] * 1800
        assert "Traceback" not in server.output()


def resident_bytes(server: ServerProcess) -> int:
    """Return the resident memory of the process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    line = next(each for each in status.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@contextmanager
def crowd(server: ServerProcess, count: int, buffer: int = 0) -> Iterator[list[socket.socket]]:
    """Connect `count` WebSocket clients. They read nothing but the answer to the handshake.

    `buffer` is the size of their receive buffers in bytes, 0 for the default of the system.
    """
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            if buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            client.settimeout(5)
            client.connect(("127.0.0.1", server.port))
            client.sendall(handshake())
            clients.append(client)
        for client in clients:
            answer = b""
            while b"\r\n\r\n" not in answer:  # recent notifications may follow
                answer += client.recv(4096)
        yield clients


@asynccontextmanager
async def admin(server: ServerProcess) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Connect a client that publishes, and reads."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.ws_url}?client=admin", max_msg_size=0) as ws,
    ):
        yield ws


async def flood(ws: aiohttp.ClientWebSocketResponse, count: int, message: str) -> None:
    """Publish `message` `count` times, at most 8 ahead of the messages received."""
    for number in range(count):
        await ws.send_str(message)
        if number >= 8:
            await ws.receive()


def read_to_the_end(clients: list[socket.socket]) -> list[int]:
    """Read everything and answer the close frames. Return the status that each client got."""
    tails = dict.fromkeys(clients, b"")
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ)
        deadline = time.monotonic() + 10
        while selector.get_map():
            assert time.monotonic() < deadline
            for key, _ in selector.select(1):
                ready: Any = key.fileobj
                with contextlib.suppress(BlockingIOError):
                    data = ready.recv(1 << 18)
                    if not data:
                        selector.unregister(ready)
                    elif CLOSE_RESTART in (tails[ready] + data)[-LONGEST_CLOSE:]:
                        ready.sendall(CLOSE_ANSWER)
                    tails[ready] = (tails[ready] + data)[-LONGEST_CLOSE:]
    return [close_status(tail) for tail in tails.values()]


def close_status(tail: bytes) -> int:
    """Return the status in the close frame at the end of a stream."""
    at = tail.rfind(b"\x88")
    return int.from_bytes(tail[at + 2 : at + 4], "big")
