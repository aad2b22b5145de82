"""Clients that resume learn whether they missed anything: after restarts, crashes and outages."""

import asyncio
import signal
from typing import Any

import aiohttp

from tests.support import MemcachedProcess, ServerProcess, eventually, running_server
from tests.support.client import get_json, publish
from tests.support.environment import with_memcached, without_memcached


async def test_clean_restart_is_complete(memcached: MemcachedProcess) -> None:
    async with running_server(with_memcached(memcached)) as server:
        a = await publish(server.url, *"abcdefg")
        b = await publish(server.url, "x", "y", topic="other")
        assert await server.stop(signal.SIGTERM) == 0
    async with running_server(with_memcached(memcached)) as server:
        assert await since(server, a[3]) == (["e", "f", "g"], True)
        assert await since(server, a[1]) == (["c", "d", "e", "f", "g"], True)
        assert await since(server, a[0]) == (["c", "d", "e", "f", "g"], False)
        assert await since(server, b[0], "other") == (["y"], True)
        (later,) = await publish(server.url, "h")
        assert later > a[-1]
        assert await since(server, a[-1]) == (["h"], True)
        assert (await first_frame(server, a[-1]))["message"] == "h"
        assert await server.stop(signal.SIGTERM) == 0
    async with running_server(with_memcached(memcached)) as server:
        assert await since(server, a[-1]) == (["h"], True)


async def test_quiet_topics_survive_clean_restart(memcached: MemcachedProcess) -> None:
    """Nothing is left of them but their positions: no false gap, and no hidden one."""
    environment = with_memcached(memcached, AIONOTIFY_RECENT_TTL="1")
    async with running_server(environment) as server:
        x, y = await publish(server.url, "x", "y")
        never = int((await get_json(f"{server.url}/notifications?topic=never"))["id"])

        async def expired() -> bool:
            return await since(server, y) == ([], True) and await since(server, x) == ([], False)

        await eventually(expired)
        assert await server.stop() == 0
    async with running_server(environment) as server:
        assert await since(server, y) == ([], True)
        assert await since(server, x) == ([], False)
        assert await since(server, never, "never") == ([], True)
        await publish(server.url, "first", topic="never")
        assert await since(server, never, "never") == (["first"], True)


async def test_crash_is_incomplete(memcached: MemcachedProcess) -> None:
    """A killed process may have had notifications to store; newer clients are not affected."""
    async with running_server(with_memcached(memcached)) as server:
        ids = await publish(server.url, *"abc")
        await publish(server.url, "x", topic="other")
        await server.stop(signal.SIGKILL)
    async with running_server(with_memcached(memcached)) as server:
        assert await since(server, ids[0]) == (["b", "c"], False)
        assert await since(server, ids[-1]) == ([], False)
        gap = await first_frame(server, ids[-1])
        assert (gap["type"], gap["missed"]) == ("gap", None)
        assert await since(server, int(gap["id"])) == ([], True)
        (new,) = await publish(server.url, "d")
        assert await since(server, ids[-1]) == (["d"], False)
        assert await since(server, new) == ([], True)
        assert await server.stop(signal.SIGTERM) == 0
    async with running_server(with_memcached(memcached)) as server:
        assert await since(server, new) == ([], True)
        assert await since(server, ids[-1]) == (["d"], False)


async def test_crash_after_clean_restart_is_incomplete(memcached: MemcachedProcess) -> None:
    """The clean-shutdown marker is cleared before the first publish, which may not be stored."""
    async with running_server(with_memcached(memcached)) as server:
        ids = await publish(server.url, *"abc")
        await publish(server.url, "x", topic="other")
        assert await server.stop() == 0
    async with (
        running_server(with_memcached(memcached)) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.ws_url}?client=admin") as admin,
    ):
        await admin.send_str("lost, perhaps")
        while await admin.receive_str() != "[Notification] lost, perhaps":
            pass
        await server.stop(signal.SIGKILL)
    async with running_server(with_memcached(memcached)) as server:
        _, complete = await since(server, ids[-1])
        assert not complete


async def test_lost_memcached_is_incomplete(memcached: MemcachedProcess) -> None:
    """The process itself still knows everything; the next one starts without any knowledge."""
    async with running_server(with_memcached(memcached)) as server:
        ids = await publish(server.url, *"abc")
        memcached.kill()
        assert await since(server, ids[0]) == (["b", "c"], True)
        assert await server.stop() == 0
    memcached.start()
    async with running_server(with_memcached(memcached)) as server:
        assert await since(server, ids[-1]) == ([], False)


async def test_concurrent_writer_is_incomplete(memcached: MemcachedProcess) -> None:
    """A server that starts while another one writes cannot know that it has read everything."""
    async with running_server(with_memcached(memcached)) as one:
        ids = await publish(one.url, *"abc")
        async with running_server(with_memcached(memcached)) as two:
            assert await since(two, ids[0]) == (["b", "c"], False)
            assert await since(one, ids[0]) == (["b", "c"], True)


async def test_expired_history_is_incomplete(memcached: MemcachedProcess) -> None:
    """One second is the shortest time to live."""
    async with running_server(with_memcached(memcached, AIONOTIFY_RECENT_TTL="1")) as server:
        ids = await publish(server.url, "a", "b")

        async def expired() -> bool:
            messages, _ = await since(server, ids[0])
            return not messages

        await eventually(expired)
        assert await since(server, ids[0]) == ([], False)


async def test_reconnect_without_memcached_is_complete() -> None:
    async with running_server(without_memcached()) as server:
        ids = await publish(server.url, *"abcdefgh")
        assert await since(server, ids[0]) == (list("bcdefgh"), True)


async def since(server: ServerProcess, id: int, topic: str = "main") -> tuple[list[str], bool]:
    """Return the messages after `id`, and whether the server calls them complete."""
    document = await get_json(f"{server.url}/notifications?topic={topic}&since={id}")
    return [each["message"] for each in document["notifications"]], document["complete"]


async def first_frame(server: ServerProcess, id: int) -> dict[str, Any]:
    """Return the first frame that a WebSocket client gets when it resumes after `id`."""
    url = f"{server.ws_url}?format=json&since={id}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        frame: dict[str, Any] = await asyncio.wait_for(ws.receive_json(), 5)
        return frame
