"""The recents outlive the process, and belong to all that share a memcached."""

import asyncio
import signal

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support import MemcachedProcess, ServerProcess, eventually, running_server


def settings(memcached: MemcachedProcess, **more: str) -> dict[str, str]:
    """The environment of a server with that memcached."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}", **more}


async def publish(admin: ClientConnection, messages: list[str]) -> None:
    """Send them all at once, and see them all."""
    await asyncio.gather(*(admin.send(message) for message in messages))
    seen = 0
    while seen < len(messages):
        seen += str(await admin.recv()).startswith("[Notification] ")


async def shown(server: ServerProcess, count: int) -> list[str]:
    """The first frames that a new client gets."""
    async with connect(server.ws_url) as ws:
        return [str(await asyncio.wait_for(ws.recv(), 5)) for _ in range(count)]


async def listed(server: ServerProcess) -> list[str]:
    """What `/messages` says."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/messages") as response,
    ):
        messages: list[str] = (await response.json())["recent_messages"]
        return messages


async def test_the_recents_survive_a_restart(memcached: MemcachedProcess) -> None:
    messages = [f"number {number}" for number in range(7)] + ["é 😀\nin two lines"]
    async with running_server(settings(memcached)) as server:
        async with connect(f"{server.ws_url}?client=admin") as admin:
            for message in messages:
                await publish(admin, [message])
        before = await shown(server, 5)
        assert before == [f"[Recent] {message}" for message in messages[-5:]]
        assert await server.stop(signal.SIGTERM) == 0
    async with running_server(settings(memcached)) as server:
        assert await shown(server, 5) == before
        async with connect(f"{server.ws_url}?client=admin") as admin:
            await publish(admin, ["afterwards"])
        assert await shown(server, 5) == [*before[1:], "[Recent] afterwards"]
        ids = [each["id"] for each in memcached.recents()]
        assert ids == sorted(set(ids))


async def test_what_was_published_right_before_the_end_survives(
    memcached: MemcachedProcess,
) -> None:
    async with (
        running_server(settings(memcached)) as server,
        connect(f"{server.ws_url}?client=admin") as admin,
    ):
        await publish(admin, [f"{number}" for number in range(100)])
        await publish(admin, ["the last"])
        assert await server.stop(signal.SIGTERM) == 0
    assert memcached.messages() == ["96", "97", "98", "99", "the last"]


async def test_a_restart_without_memcached_shows_nothing(memcached: MemcachedProcess) -> None:
    """There is nowhere that they could have been kept; the server starts all the same."""
    async with running_server(settings(memcached)) as server:
        async with connect(f"{server.ws_url}?client=admin") as admin:
            await publish(admin, ["Hello"])
        assert await server.stop() == 0
    memcached.kill()
    async with running_server(settings(memcached)) as server:
        assert await listed(server) == []


@pytest.mark.parametrize("limit", [5, 1000])
async def test_two_servers_on_one_memcached_keep_the_newest_of_both(
    memcached: MemcachedProcess, limit: int
) -> None:
    """With a limit that both together reach, nothing at all is missing: no write undid another."""
    environment = settings(memcached, AIONOTIFY_RECENT_LIMIT=str(limit))
    async with running_server(environment) as one, running_server(environment) as two:
        servers = {"a": one, "b": two}

        async def burst(letter: str) -> None:
            async with connect(f"{servers[letter].ws_url}?client=admin") as admin:
                for start in range(0, 500, 50):
                    await publish(admin, [f"{letter}{n}" for n in range(start, start + 50)])

        await asyncio.gather(burst("a"), burst("b"))

        async def agreed() -> bool:
            here, there = await listed(one), await listed(two)
            return here == there == memcached.messages()

        await eventually(agreed, what="all three agree")
        recents = memcached.recents()
        assert len(recents) == limit
        assert recents == sorted(recents, key=lambda each: int(each["id"]))
        for letter in servers:
            kept = [each for each in memcached.messages() if each.startswith(letter)]
            assert kept == [f"{letter}{number}" for number in range(500 - len(kept), 500)]
        for number, letter in enumerate("ababa"):
            async with connect(f"{servers[letter].ws_url}?client=admin") as admin:
                await publish(admin, [f"last {number}"])
            await eventually(agreed, what="all three agree")
        assert memcached.messages()[-5:] == [f"last {number}" for number in range(5)]
        assert "lost" not in one.output() + two.output()


COMMANDS = ("cmd_get", "cmd_set", "cmd_touch")


async def test_a_burst_of_a_thousand_costs_memcached_little(memcached: MemcachedProcess) -> None:
    """`cas` and `add` are counted as `cmd_set`."""
    async with (
        running_server(settings(memcached)) as server,
        connect(f"{server.ws_url}?client=admin") as admin,
    ):
        before = sum(map(memcached.statistic, COMMANDS))
        await publish(admin, [f"{number}" for number in range(1000)])
        assert await server.stop() == 0
        assert sum(map(memcached.statistic, COMMANDS)) - before < 50
        assert memcached.messages() == ["995", "996", "997", "998", "999"]


async def test_a_thousand_one_after_another_cost_memcached_little_too(
    memcached: MemcachedProcess,
) -> None:
    """Each is sent when the one before has arrived: time enough to write in between, but why."""
    async with (
        running_server(settings(memcached)) as server,
        connect(f"{server.ws_url}?client=admin") as admin,
    ):
        before = sum(map(memcached.statistic, COMMANDS))
        for number in range(1000):
            await publish(admin, [f"{number}"])
        assert await server.stop() == 0
        assert sum(map(memcached.statistic, COMMANDS)) - before < 150
        assert memcached.messages() == ["995", "996", "997", "998", "999"]
