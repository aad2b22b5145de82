"""Many clients, some of which accept nothing: what they cost, and how it ends."""

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

from tests.support import ServerProcess, eventually, free_port, running_server

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """As many open files as this user may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= 6000, "raise the limit on open files: ulimit -Hn"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def settings(**more: str) -> dict[str, str]:
    """Without memcached."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{free_port()}", **more}


async def connected(server: ServerProcess) -> int:
    """How many clients there are."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/health") as response,
    ):
        return int((await response.json())["connected_websockets"])


def resident(server: ServerProcess) -> int:
    """Bytes of memory that the process has."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    line = next(each for each in status.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@contextmanager
def crowd(server: ServerProcess, count: int, buffer: int = 0) -> Iterator[list[socket.socket]]:
    """So many sockets whose handshake is done, and from which nothing more is read."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            if buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            client.settimeout(5)
            client.connect(("127.0.0.1", server.port))
            client.sendall(HANDSHAKE)
            clients.append(client)
        for client in clients:
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += client.recv(1)
        yield clients


@asynccontextmanager
async def admin(server: ServerProcess) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Somebody who sends, and reads."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.ws_url}?client=admin", max_msg_size=0) as ws,
    ):
        yield ws


async def flood(ws: aiohttp.ClientWebSocketResponse, count: int, message: str) -> None:
    """Send `message` so often, never far ahead of what comes back."""
    for number in range(count):
        await ws.send_str(message)
        if number >= 8:
            await ws.receive()


@pytest.mark.timeout(60)
async def test_stalled_clients_cost_little_and_leave_nothing() -> None:
    """Five hundred of them, and a gibibyte for each."""
    environment = settings(AIONOTIFY_STALL_TIMEOUT="30")
    async with running_server(environment) as server:
        with crowd(server, 500, buffer=4096):
            before = resident(server)
            async with admin(server) as ws:
                await flood(ws, 16 * 1024, "x" * 64 * 1024)
                assert resident(server) - before < 100 * MIB
        await eventually(lambda: gone(server), 5)
        assert resident(server) - before < 50 * MIB
        assert "Traceback" not in server.output()


async def gone(server: ServerProcess) -> bool:
    return await connected(server) == 0


@pytest.mark.timeout(20)
async def test_the_end_with_two_thousand_clients_of_whom_two_hundred_are_stalled() -> None:
    """All others see 1012; the process ends within the grace and a second."""
    async with running_server(settings(AIONOTIFY_SHUTDOWN_GRACE="3")) as server:
        with crowd(server, 200, buffer=4096), crowd(server, 1800) as healthy:
            async with admin(server) as ws:
                await flood(ws, 10, "x" * 64 * 1024)
                reading = asyncio.create_task(asyncio.to_thread(read_to_the_end, healthy))
                started = time.monotonic()
                assert await server.stop() == 0
                assert time.monotonic() - started < 3 + 1
                codes = await reading
        assert codes == [1012] * 1800
        assert "Traceback" not in server.output()


def read_to_the_end(clients: list[socket.socket]) -> list[int]:
    """Read everything, answer the close frame, and tell its status, for each."""
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
                    elif (tails[ready] + data)[-100:].find(b"\x88\x20\x03\xf4") >= 0:
                        ready.sendall(b"\x88\x82\x00\x00\x00\x00\x03\xf4")
                    tails[ready] = (tails[ready] + data)[-100:]
    return [code(tail) for tail in tails.values()]


def code(tail: bytes) -> int:
    """The status in the close frame that a stream ended with."""
    at = tail.rfind(b"\x88")
    return int.from_bytes(tail[at + 2 : at + 4], "big")
