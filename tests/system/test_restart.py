"""Recent notifications outlive the process and are shared by all servers on one memcached."""

import asyncio
import signal
import time

import pytest
from websockets.asyncio.client import ClientConnection, connect

from aionotify.cache import WRITE_DELAY
from tests.support import MemcachedProcess, ServerProcess, eventually, running_server
from tests.support.client import recent_messages
from tests.support.environment import with_memcached

COMMANDS = ("cmd_get", "cmd_set", "cmd_touch")
"""memcached's counters of commands; it counts `cas` and `add` as `cmd_set`."""


async def test_recents_survive_restart(memcached: MemcachedProcess) -> None:
    messages = [f"number {number}" for number in range(7)] + ["é 😀\nin two lines"]
    async with running_server(with_memcached(memcached)) as server:
        async with connect(f"{server.ws_url}?client=admin") as admin:
            for message in messages:
                await publish(admin, [message])
        before = await first_frames(server, 5)
        assert before == [f"[Recent] {message}" for message in messages[-5:]]
        assert await server.stop(signal.SIGTERM) == 0
    async with running_server(with_memcached(memcached)) as server:
        assert await first_frames(server, 5) == before
        async with connect(f"{server.ws_url}?client=admin") as admin:
            await publish(admin, ["afterwards"])
        assert await first_frames(server, 5) == [*before[1:], "[Recent] afterwards"]
        ids = [each["id"] for each in memcached.recents()]
        assert ids == sorted(set(ids))


async def test_stop_stores_last_publish(memcached: MemcachedProcess) -> None:
    async with (
        running_server(with_memcached(memcached)) as server,
        connect(f"{server.ws_url}?client=admin") as admin,
    ):
        await publish(admin, [f"{number}" for number in range(100)])
        await publish(admin, ["the last"])
        assert await server.stop(signal.SIGTERM) == 0
    assert memcached.messages() == ["96", "97", "98", "99", "the last"]


async def test_restart_without_memcached_is_empty(memcached: MemcachedProcess) -> None:
    """The server starts all the same; there is nowhere to read recent notifications from."""
    async with running_server(with_memcached(memcached)) as server:
        async with connect(f"{server.ws_url}?client=admin") as admin:
            await publish(admin, ["Hello"])
        assert await server.stop() == 0
    memcached.kill()
    async with running_server(with_memcached(memcached)) as server:
        assert await recent_messages(server.url) == []


@pytest.mark.parametrize("limit", [5, 1000])
async def test_two_servers_merge_recents(memcached: MemcachedProcess, limit: int) -> None:
    """With a limit that both together just reach, nothing is missing: no write undid another."""
    environment = with_memcached(memcached, AIONOTIFY_RECENT_LIMIT=str(limit))
    async with running_server(environment) as one, running_server(environment) as two:
        servers = {"a": one, "b": two}

        async def burst(letter: str) -> None:
            async with connect(f"{servers[letter].ws_url}?client=admin") as admin:
                for start in range(0, 500, 50):
                    await publish(admin, [f"{letter}{n}" for n in range(start, start + 50)])

        await asyncio.gather(burst("a"), burst("b"))

        async def agreed() -> bool:
            here, there = await recent_messages(one.url), await recent_messages(two.url)
            return here == there == memcached.messages()

        await eventually(agreed, what="both servers and memcached agree")
        recents = memcached.recents()
        assert len(recents) == limit
        assert recents == sorted(recents, key=lambda each: int(each["id"]))
        for letter in servers:
            kept = [each for each in memcached.messages() if each.startswith(letter)]
            assert kept == [f"{letter}{number}" for number in range(500 - len(kept), 500)]
        for number, letter in enumerate("ababa"):
            async with connect(f"{servers[letter].ws_url}?client=admin") as admin:
                await publish(admin, [f"last {number}"])
            await eventually(agreed, what="both servers and memcached agree")
        assert memcached.messages()[-5:] == [f"last {number}" for number in range(5)]
        assert "lost" not in one.output() + two.output()


async def test_burst_needs_few_commands(memcached: MemcachedProcess) -> None:
    """A thousand notifications at once cost memcached fewer than 50 commands."""
    async with (
        running_server(with_memcached(memcached)) as server,
        connect(f"{server.ws_url}?client=admin") as admin,
    ):
        before = sum(map(memcached.statistic, COMMANDS))
        await publish(admin, [f"{number}" for number in range(1000)])
        assert await server.stop() == 0
        assert sum(map(memcached.statistic, COMMANDS)) - before < 50
        assert memcached.messages() == ["995", "996", "997", "998", "999"]


async def test_sequence_needs_few_commands(memcached: MemcachedProcess) -> None:
    """A thousand notifications, each sent when the previous one has arrived, are coalesced too.

    Each round is a command that reads and one that writes; some more look whether memcached is up.
    """
    async with (
        running_server(with_memcached(memcached)) as server,
        connect(f"{server.ws_url}?client=admin") as admin,
    ):
        before, began = sum(map(memcached.statistic, COMMANDS)), time.monotonic()
        for number in range(1000):
            await publish(admin, [f"{number}"])
        rounds = (time.monotonic() - began) / WRITE_DELAY
        assert await server.stop() == 0
        assert sum(map(memcached.statistic, COMMANDS)) - before < 50 + 2 * rounds
        assert memcached.messages() == ["995", "996", "997", "998", "999"]


async def publish(admin: ClientConnection, messages: list[str]) -> None:
    """Send all `messages` at once over the WebSocket, and wait until all have come back."""
    await asyncio.gather(*(admin.send(message) for message in messages))
    seen = 0
    while seen < len(messages):
        seen += str(await admin.recv()).startswith("[Notification] ")


async def first_frames(server: ServerProcess, count: int) -> list[str]:
    """Return the first `count` frames that a new client gets."""
    async with connect(server.ws_url) as ws:
        return [str(await asyncio.wait_for(ws.recv(), 5)) for _ in range(count)]
