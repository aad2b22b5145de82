"""Who comes back knows whether anything was missed: across restarts, crashes, lost memcacheds."""

import asyncio
import signal
import time
from typing import Any

import aiohttp

from tests.support import MemcachedProcess, ServerProcess, free_port, running_server


def settings(memcached: MemcachedProcess, **more: str) -> dict[str, str]:
    """The environment of a server with that memcached."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}", **more}


async def publish(server: ServerProcess, *messages: str, topic: str = "main") -> list[int]:
    """Over HTTP; the ids."""
    ids = []
    async with aiohttp.ClientSession() as session:
        for message in messages:
            url = f"{server.url}/notifications?topic={topic}"
            async with session.post(url, data=message) as response:
                assert response.status == 201
                ids.append(int((await response.json())["id"]))
    return ids


async def since(server: ServerProcess, id: int, topic: str = "main") -> tuple[list[str], bool]:
    """What came after `id`, and whether that is all."""
    url = f"{server.url}/notifications?topic={topic}&since={id}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        document = await response.json()
        return [each["message"] for each in document["notifications"]], document["complete"]


async def first_frame(server: ServerProcess, id: int) -> dict[str, Any]:
    """What a client that resumes is told first."""
    url = f"{server.ws_url}?format=json&since={id}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        frame: dict[str, Any] = await asyncio.wait_for(ws.receive_json(), 5)
        return frame


async def test_a_clean_restart_misses_nothing(memcached: MemcachedProcess) -> None:
    async with running_server(settings(memcached)) as server:
        a = await publish(server, *"abcdefg")
        b = await publish(server, "x", "y", topic="other")
        assert await server.stop(signal.SIGTERM) == 0
    async with running_server(settings(memcached)) as server:
        assert await since(server, a[3]) == (["e", "f", "g"], True)
        assert await since(server, a[1]) == (["c", "d", "e", "f", "g"], True)
        assert await since(server, a[0]) == (["c", "d", "e", "f", "g"], False)
        assert await since(server, b[0], "other") == (["y"], True)
        (later,) = await publish(server, "h")
        assert later > a[-1]
        assert await since(server, a[-1]) == (["h"], True)
        assert (await first_frame(server, a[-1]))["message"] == "h"
        assert await server.stop(signal.SIGTERM) == 0
    async with running_server(settings(memcached)) as server:
        assert await since(server, a[-1]) == (["h"], True)


async def test_after_a_crash_it_is_not_known(memcached: MemcachedProcess) -> None:
    async with running_server(settings(memcached)) as server:
        ids = await publish(server, *"abc")
        await publish(server, "x", topic="other")
        await server.stop(signal.SIGKILL)
    async with running_server(settings(memcached)) as server:
        assert await since(server, ids[0]) == (["b", "c"], False)
        assert await since(server, ids[-1]) == ([], False)
        assert await first_frame(server, ids[-1]) == {"type": "gap", "missed": None}
        (new,) = await publish(server, "d")
        assert await since(server, ids[-1]) == (["d"], False)
        assert await since(server, new) == ([], True)
        assert await server.stop(signal.SIGTERM) == 0
    async with running_server(settings(memcached)) as server:
        assert await since(server, new) == ([], True)
        assert await since(server, ids[-1]) == (["d"], False)


async def test_a_crash_right_after_a_clean_restart_is_not_taken_for_a_clean_end(
    memcached: MemcachedProcess,
) -> None:
    """The seal is broken before anything is published that might never be stored."""
    async with running_server(settings(memcached)) as server:
        ids = await publish(server, *"abc")
        await publish(server, "x", topic="other")
        assert await server.stop() == 0
    async with (
        running_server(settings(memcached)) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.ws_url}?client=admin") as admin,
    ):
        await admin.send_str("lost, perhaps")
        while await admin.receive_str() != "[Notification] lost, perhaps":
            pass
        await server.stop(signal.SIGKILL)
    async with running_server(settings(memcached)) as server:
        _, complete = await since(server, ids[-1])
        assert not complete


async def test_with_memcached_lost_it_is_not_known(memcached: MemcachedProcess) -> None:
    async with running_server(settings(memcached)) as server:
        ids = await publish(server, *"abc")
        memcached.kill()
        assert await since(server, ids[0]) == (["b", "c"], True)
        assert await server.stop() == 0
    memcached.start()
    async with running_server(settings(memcached)) as server:
        assert await since(server, ids[-1]) == ([], False)


async def test_while_another_server_writes_it_is_not_known(memcached: MemcachedProcess) -> None:
    async with running_server(settings(memcached)) as one:
        ids = await publish(one, *"abc")
        async with running_server(settings(memcached)) as two:
            assert await since(two, ids[0]) == (["b", "c"], False)
            assert await since(one, ids[0]) == (["b", "c"], True)


async def test_what_has_expired_is_missing(memcached: MemcachedProcess) -> None:
    async with running_server(settings(memcached, AIONOTIFY_RECENT_TTL="1")) as server:
        ids = await publish(server, "a", "b")
        end = time.monotonic() + 5
        while (await since(server, ids[0]))[0]:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        assert await since(server, ids[0]) == ([], False)


async def test_without_any_memcached_a_reconnect_misses_nothing() -> None:
    async with running_server({"MEMCACHED_HOST": f"127.0.0.1:{free_port()}"}) as server:
        ids = await publish(server, *"abcdefgh")
        assert await since(server, ids[0]) == (list("bcdefgh"), True)
