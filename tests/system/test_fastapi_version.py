"""The differences from the FastAPI version that docker/README.md lists, shown on both programs.

The peer of the benchmark is that program in its usual form: FastAPI on uvicorn, started the same
way. Differences in memcached and in crowds need more than one request; other tests hold our side.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support import ROOT, eventually, free_port, running_server
from tests.support.documents import OPERATING, read
from tests.support.environment import without_memcached

FOREIGN = {"Origin": "https://elsewhere.example"}
OTHER_HOST = {"Host": "notify.example.com"}


async def status(url: str, path: str, method: str = "GET", **headers: str) -> int:
    """Return the status of a plain HTTP request."""
    async with aiohttp.request(method, url + path, headers=headers) as response:
        return response.status


async def handshake(url: str, headers: dict[str, str]) -> int:
    """Return the status of a WebSocket handshake."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{url}/ws", headers=headers),
        ):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def foreign_page(url: str) -> int:
    return await handshake(url, FOREIGN)


async def other_host(url: str) -> int:
    return await handshake(url, OTHER_HOST)


async def exchange(url: str, frame: str | bytes) -> str | int:
    """Send `frame` as an admin; return the start of the answer, or the close code."""
    async with connect(f"{url.replace('http', 'ws')}/ws?client=admin", max_size=None) as ws:
        await ws.send(frame)
        try:
            async with asyncio.timeout(5):
                while (answer := str(await ws.recv())).startswith("[Recent]"):
                    pass
            return answer[:30]
        except ConnectionClosed:
            return ws.close_code or 1006


async def long_message(url: str) -> str | int:
    return await exchange(url, "x" * 70_000)


async def empty_message(url: str) -> str | int:
    return await exchange(url, "")


async def binary_frame(url: str) -> str | int:
    return await exchange(url, b"x")


async def compression(url: str) -> list[str]:
    async with connect(f"{url.replace('http', 'ws')}/ws", compression="deflate") as ws:
        return [each.name for each in ws.protocol.extensions]


async def api_pages(url: str) -> tuple[int, int]:
    return await status(url, "/docs"), await status(url, "/redoc")


async def head_request(url: str) -> int:
    return await status(url, "/health", "HEAD")


async def plain_ws(url: str) -> int:
    return await status(url, "/ws")


Probe = Callable[[str], Awaitable[object]]

PROBES: dict[str, tuple[Probe, object, object]] = {
    # row of the document: what to try, and the outcomes there and here
    "pages of foreign origins": (foreign_page, 101, 403),
    "other host names that lead to loopback": (other_host, 101, 403),
    "longest message": (long_message, "[Notification] " + "x" * 15, 1009),
    "compression (permessage-deflate)": (compression, ["permessage-deflate"], []),
    "API description": (api_pages, (200, 200), (200, 404)),
    "broadcast empty messages": (
        *(empty_message, "[Notification] ", "Empty notifications are not sent."[:30]),
    ),
    "a binary frame ended the connection without a close frame (1006)": (
        *(binary_frame, 1006, 1003),
    ),
    "answered `HEAD` with 405": (head_request, 405, 200),
    "answered `GET /ws` without an upgrade with 404": (plain_ws, 404, 426),
}

ELSEWHERE = {
    "deleted every `admin:` inside a message": "tests/http/test_ws_text.py",
    "one client that stopped reading blocked the broadcast for all": "tests/system/test_crowds.py",
    "a client that vanished during a broadcast ended the admin's session": "tests/chaos/run.py",
    "stored pickles in memcached, so that anyone with write access could run code in the server": (
        "tests/unit/cache/test_format.py"
    ),
    "dropped all recent notifications when memcached failed, and never reconnected": (
        "tests/system/test_memcached_outages.py"
    ),
    "without memcached, recent notifications never expired": "tests/unit/test_hub.py",
    "ignored `MEMCACHED_HOST` and `MEMCACHED_PORT`": "tests/system/test_probing.py",
    "bind address": "tests/unit/test_server.py",
    "Python": "tests/system/test_package.py",
}
"""Rows that cannot be shown on the peer by one client, with the tests that hold our side."""


@contextlib.asynccontextmanager
async def running_peer() -> AsyncIterator[str]:
    """Start the FastAPI version, and yield its address."""
    port = free_port()
    script = ROOT / "tests" / "bench" / "peers" / "fastapi_server.py"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), str(port)),
        stderr=subprocess.DEVNULL,  # its traceback about the binary frame
    )
    url = f"http://127.0.0.1:{port}"

    async def answers() -> bool:
        assert process.returncode is None, "fastapi is missing: pip install -e '.[bench]'"
        try:
            return await status(url, "/health") == 200
        except aiohttp.ClientConnectionError:
            return False

    try:
        await eventually(answers, 8, "the FastAPI version answers")
        yield url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def rows() -> list[str]:
    """Return the first cell of every row of the section."""
    section = read(OPERATING).partition("## Coming from the FastAPI version")[2]
    cells = re.findall(r"^\|(.*?)\|", section.partition("\n## ")[0], re.MULTILINE)
    return [each.strip() for each in cells if each.strip() not in ("FastAPI version", "---", "")]


def test_every_difference_is_tested() -> None:
    assert sorted(rows()) == sorted([*PROBES, *ELSEWHERE])
    for path in ELSEWHERE.values():
        assert (ROOT / path).is_file()


async def test_differences_are_real() -> None:
    """Each is there on the FastAPI version, and is as the document says on ours."""
    found: dict[str, tuple[object, object]] = {}
    async with running_peer() as peer, running_server(without_memcached()) as server:
        for row, (probe, _, _) in PROBES.items():
            found[row] = (await probe(peer), await probe(server.url))
    assert found == {row: (theirs, ours) for row, (_, theirs, ours) in PROBES.items()}
