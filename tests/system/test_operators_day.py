"""A day of a server, told by its log alone: every client that was turned away or cut off, and why.

The server is the real process with a real memcached; the only thing shortened is the time after
which a full server counts as free again.
"""

import asyncio
import json
import re
import signal
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.support import MemcachedProcess, ServerProcess, eventually, running_server
from tests.support.access import ADMIN, FOREIGN, USER, WRONG, ask
from tests.support.client import connected_clients
from tests.support.environment import with_memcached, with_startup_code
from tests.support.frames import masked
from tests.support.raw_client import handshake

SETTINGS = {
    "AIONOTIFY_ADMIN_TOKEN": ADMIN,
    "AIONOTIFY_USER_TOKEN": USER,
    "AIONOTIFY_MAX_CONNECTIONS": "2",
    "AIONOTIFY_MAX_MESSAGE_BYTES": "60000",
    "AIONOTIFY_RECENT_LIMIT": "2",
    "AIONOTIFY_HISTORY_LIMIT": "2",
    "AIONOTIFY_STALL_TIMEOUT": "3",
    "AIONOTIFY_SHUTDOWN_GRACE": "1",
}
SHORT_QUIET = "import aionotify.incidents\naionotify.incidents.QUIET = 1\n"

START = """
INFO aionotify V, Python V, LOOP: at most 2 clients, 60,000 bytes per message, 2 notifications \
per topic; tokens may publish, tokens may subscribe
INFO connected to memcached at CACHE
INFO listening on http://SERVER and ws://SERVER/ws
"""
DAY = """
INFO rejected GET /messages from 127.0.0.1: no valid token
INFO rejected origin 'https://evil.example' (GET /ws from 127.0.0.1, Host 'SERVER'): if it is \
yours, add it to AIONOTIFY_ALLOWED_ORIGINS, or have the proxy pass Host or X-Forwarded-Host
INFO disconnected client PEER: a frame from a client must be masked (1002)
INFO disconnected client PEER: binary frames are not supported, send text (1003)
INFO disconnected client PEER: text is not UTF-8: 'utf-8' codec can't decode byte 0xff in \
position 0: invalid start byte (1007)
INFO disconnected client PEER: message too big (limit 60006 bytes) (1009)
INFO disconnected client PEER: too slow: notifications were missed (1013)
INFO disconnected client PEER: no data accepted for 3 s
WARNING connection limit reached: 2 clients are connected, rejecting further ones with 503 \
(AIONOTIFY_MAX_CONNECTIONS, or the limit on open files)
INFO accepting again after N s, 3 rejected
WARNING lost memcached at CACHE (WHY): keeping recent notifications in memory, retrying in the \
background
INFO reconnected to memcached at CACHE
INFO stopping: clients are being closed
INFO disconnected client PEER: no answer to the close frame within the shutdown grace period
INFO 2 more in N s, the last: rejected GET /messages from 127.0.0.1: no valid token
INFO stopped
"""
QUIET_DAY = """
INFO stopping: clients are being closed
INFO stopped
"""

BAD_FRAMES = {
    1002: b"\x81\x01x",
    1003: masked(0x82, b"x"),
    1007: masked(0x81, b"\xff"),
    1009: masked(0x81, b"x" * 60_007),
}
"""The frames of a broken client, by the code with which the server closes the connection."""


class Operator:
    """Has things done to a server, each until the log has its line."""

    def __init__(self, server: ServerProcess, memcached: MemcachedProcess) -> None:
        self.server = server
        self.memcached = memcached
        self.headers = {"Authorization": f"Bearer {ADMIN}"}

    async def logs(self, text: str) -> None:
        """Wait until the log has `text`."""
        await eventually(lambda: text in self.server.output(), what=text)

    async def join(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect a subscriber that reads nothing by itself."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, limit=1024)
        writer.write(handshake(f"/ws?token={USER}"))
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def fill(self) -> None:
        """Publish until a subscriber has more than the kernel takes, and the history goes on."""
        async with aiohttp.ClientSession(self.server.url, headers=self.headers) as session:

            async def publish() -> bool:
                for _ in range(4):
                    async with session.post("/notifications", data="x" * 60_000) as response:
                        assert response.status == 201
                async with session.get("/metrics") as response:
                    return "aionotify_lagging 1.0" in await response.text()

            await eventually(publish, 9, "a client lags")
            await publish()

    async def everyone_leaves(self) -> None:
        """Wait until no client is connected."""

        async def alone() -> bool:
            return await connected_clients(self.server.url) == 0

        await eventually(alone)

    async def meets_strangers(self) -> None:
        """Wrong tokens, and a page of another site."""
        wrong = {"Authorization": f"Bearer {WRONG}"}
        for _ in range(3):
            assert (await ask(self.server.port, "GET", "/messages", wrong)).status == 401
        for _ in range(2):
            page = {"Origin": FOREIGN}
            assert (await ask(self.server.port, "GET", f"/ws?token={USER}", page)).status == 403

    async def meets_broken_clients(self) -> None:
        """Clients that break the protocol, one after another."""
        for code, frame in BAD_FRAMES.items():
            _, writer = await self.join()
            writer.write(frame)
            await self.logs(f"({code})")
            writer.transport.abort()
            await self.everyone_leaves()

    async def meets_slow_clients(self) -> None:
        """One that reads too late, and one that does not read at all."""
        reader, late = await self.join()
        await self.fill()
        while "(1013)" not in self.server.output():
            await reader.read(65536)
        late.transport.abort()
        await self.everyone_leaves()
        _, stalled = await self.join()
        await self.fill()
        await self.logs("no data accepted")
        stalled.transport.abort()

    async def meets_a_crowd(self) -> None:
        """More clients than there is room for."""
        await self.everyone_leaves()
        clients = [await self.join() for _ in range(2)]
        for _ in range(3):
            assert (await ask(self.server.port, "GET", f"/ws?token={USER}", {})).status == 503
        for _, writer in clients:
            writer.transport.abort()
        await self.logs("accepting again")

    async def meets_an_outage(self) -> None:
        """The crash of memcached, and its return."""
        self.memcached.kill()
        await self.logs("lost memcached")
        self.memcached.start()
        await self.logs("reconnected to memcached")

    async def closes_the_terminal(self) -> None:
        """SIGHUP while a client is connected that answers nothing."""
        _, silent = await self.join()
        assert await self.server.stop(signal.SIGHUP) == 0
        silent.transport.abort()


def story(server: ServerProcess, memcached: MemcachedProcess) -> list[str]:
    """Return the level and the message of each line, without figures that differ every time."""
    lines = []
    for line in server.output().splitlines():
        if line.startswith("{"):
            fields = json.loads(line)
            lines.append(f"{fields['level']} {fields['message']}")
        else:
            found = re.fullmatch(r"\S+Z (\w+) +[\w.]+: (.*)", line)
            assert found, line
            lines.append(f"{found[1]} {found[2]}")
    text = "\n".join(lines)
    for pattern, name in (
        (f"127.0.0.1:{server.port}", "SERVER"),
        (f"127.0.0.1:{memcached.port}", "CACHE"),
        (r"(?<=disconnected client )127\.0\.0\.1:\d+", "PEER"),
        (r"(?<=lost memcached at CACHE \().*(?=\))", "WHY"),
        (r"(?<=after )\d+(?= s)|(?<=more in )\d+(?= s)", "N"),
        (r"(?<=aionotify )\d+\.\d+\.\d+|(?<=Python )\d+\.\d+\.\d+\w*", "V"),
        (r"(?<=V, )(asyncio|uvloop [\d.]+)", "LOOP"),
    ):
        text = re.sub(pattern, name, text)
    return text.splitlines()


def written(*parts: str) -> list[str]:
    """Return the lines of a story."""
    return [line for part in parts for line in part.strip().splitlines()]


@pytest.mark.parametrize("style", ["text", "json"])
async def test_log_tells_the_day(style: str, memcached: MemcachedProcess, tmp_path: Path) -> None:
    settings = SETTINGS | {"AIONOTIFY_LOG_FORMAT": style} | with_startup_code(tmp_path, SHORT_QUIET)
    async with running_server(with_memcached(memcached, **settings)) as server:
        operator = Operator(server, memcached)
        await operator.meets_strangers()
        await operator.meets_broken_clients()
        await operator.meets_slow_clients()
        await operator.meets_a_crowd()
        await operator.meets_an_outage()
        await operator.closes_the_terminal()
        assert story(server, memcached) == written(START, DAY)
    async with running_server(with_memcached(memcached, **settings)) as server:
        async with connect(f"{server.ws_url}?token={USER}") as client:
            assert await server.stop(signal.SIGTERM) == 0
            await client.wait_closed()
            assert client.close_code == 1012
        assert story(server, memcached) == written(START, QUIET_DAY)
