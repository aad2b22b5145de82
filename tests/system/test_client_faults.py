"""`aionotify.client.listen` when the server, a proxy or the network fails: nothing is missed."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from aionotify.client import Notification, publish
from tests.support import MemcachedProcess, ServerProcess, free_port, running_server
from tests.support.environment import with_memcached, without_memcached
from tests.support.listener import listening
from tests.support.nginx import running_nginx
from tests.support.peer import Script, notification_frame, running_peer, sends
from tests.support.wire import wire

Start = Callable[[Mapping[str, str]], Awaitable[ServerProcess]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start servers, one after another, on the same port."""
    port = free_port()
    async with AsyncExitStack() as stack:

        async def start(environment: Mapping[str, str]) -> ServerProcess:
            server = running_server(environment, "--port", f"{port}")
            return await stack.enter_async_context(server)

        yield start


@pytest.mark.usefixtures("impatient")
async def test_restart_misses_nothing(start: Start, memcached: MemcachedProcess) -> None:
    server = await start(with_memcached(memcached))
    async with listening(server.url) as listener:
        await publish(server.url, "a")
        await listener.receives("a")
        assert await server.stop() == 0
        await start(with_memcached(memcached))
        await publish(server.url, "b")
        await listener.receives("a", "b")
    assert listener.gaps == []
    assert listener.reasons[0].startswith("closed by the server (1012: the server is restarting")


@pytest.mark.usefixtures("impatient")
async def test_crash_is_one_gap(start: Start, memcached: MemcachedProcess) -> None:
    """It is told once: after another restart, the client resumes from the gap's position."""
    server = await start(with_memcached(memcached))
    async with listening(server.url) as listener:
        await publish(server.url, "a")
        await listener.receives("a")
        await server.stop(signal.SIGKILL)
        server = await start(with_memcached(memcached))
        await listener.connects(2)
        assert await server.stop() == 0
        await start(with_memcached(memcached))
        await publish(server.url, "b")
        await listener.receives("a", "b")
    (gap,) = listener.gaps
    assert gap.missed is None
    assert listener.events.index(gap) == 1


@pytest.mark.usefixtures("impatient")
async def test_bad_gateway_is_survived(
    start: Start, memcached: MemcachedProcess, tmp_path: Path
) -> None:
    server = await start(with_memcached(memcached))
    async with (
        running_nginx(server.port, tmp_path) as address,
        listening(f"http://{address}") as listener,
    ):
        await publish(server.url, "a")
        await listener.receives("a")
        assert await server.stop() == 0
        await listener.is_told("Bad Gateway (HTTP 502)")
        await start(with_memcached(memcached))
        await publish(server.url, "b")
        await listener.receives("a", "b")
    assert listener.gaps == []


async def test_frozen_server_is_noticed(start: Start) -> None:
    """The kernel goes on acknowledging, and accepts connections for it."""
    server = await start(without_memcached())
    async with listening(server.url, timeout=0.3) as listener:
        await publish(server.url, "a")
        await listener.receives("a")
        server.process.send_signal(signal.SIGSTOP)
        await listener.is_told("no sign of the server for 0.6 s")
        await listener.is_told("no answer within 0.3 s")
        server.process.send_signal(signal.SIGCONT)
        await publish(server.url, "b")
        await listener.receives("a", "b")
    assert listener.gaps == []


async def test_silent_link_is_noticed(start: Start) -> None:
    """No end of a connection is seen; the next one has everything that was lost on the way."""
    server = await start(without_memcached())
    async with wire(server.port) as link:
        url = f"http://127.0.0.1:{link.port}"
        async with listening(url, timeout=0.2) as listener:
            await publish(server.url, "a")
            await listener.receives("a")
            link.silence_subscribers()
            for message in "bcdefgh":
                await publish(server.url, message)
            await listener.is_told("no sign of the server for 0.4 s")
            await listener.receives(*"abcdefgh")
    assert listener.gaps == []


async def test_client_that_saw_nothing_resumes(start: Start) -> None:
    """More is published than the five recent notifications."""
    server = await start(without_memcached())
    async with (
        wire(server.port) as link,
        listening(f"http://127.0.0.1:{link.port}", topics="quiet") as listener,
    ):
        await listener.connects(1)
        link.cut()
        for message in "abcdefgh":
            await publish(server.url, message, "quiet")
        link.mend()
        await listener.receives(*"abcdefgh")
    assert listener.gaps == []
    assert "connection lost" in listener.reasons


@pytest.mark.usefixtures("impatient")
async def test_position_is_exact() -> None:
    """It is the last id of a notification, a gap or `subscribed`, and of nothing else."""
    async with (
        running_peer(
            sends(),
            sends(notification_frame("Hello", 5)),
            sends('{"type":"gap","missed":3,"id":"9"}'),
            sends('{"type":"subscribed","topics":["a"],"id":"12"}'),
            sends('{"type":"accepted","id":"99"}'),
            sends('{"type":"notification","id":"100"}'),
        ) as peer,
        listening(peer.url, topics="a") as listener,
    ):
        await listener.connects(7)
    assert [each.get("since") for each in peer.queries[:7]] == [None, None, "5", "9", *["12"] * 3]
    assert all(each["topic"] == "a" and each["format"] == "json" for each in peer.queries)
    assert [each.id for each in listener.events] == ["5", "9"]


@pytest.mark.usefixtures("impatient")
async def test_topics_share_one_position() -> None:
    """Of several topics, as of one, the last id decides."""
    of_b = notification_frame("b", 6).replace('"main"', '"b"')
    async with (
        running_peer(sends(notification_frame("a", 5), of_b), sends()) as peer,
        listening(peer.url, topics=["main", "b"]) as listener,
    ):
        await listener.connects(2)
    assert [each.topic for each in listener.events if isinstance(each, Notification)] == [
        *("main", "b")
    ]
    assert peer.queries[:2] == [
        {"format": "json", "topic": "main,b"},
        {"format": "json", "topic": "main,b", "since": "6"},
    ]


async def sends_binary(ws: web.WebSocketResponse) -> None:
    """Send a frame that is not text."""
    await ws.send_bytes(b"{}")


async def sends_no_utf8(ws: web.WebSocketResponse) -> None:
    """Send a text frame that is not text."""
    await ws.send_frame(b"\xff", WSMsgType.TEXT)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("script", [sends("[Recent] Hello"), sends_binary, sends_no_utf8])
async def test_invalid_frame_is_retried(script: Script) -> None:
    async with running_peer(script) as peer, listening(peer.url) as listener:
        await listener.connects(2)
    assert listener.reasons[0].startswith("invalid data")
    assert listener.events == []


async def test_close_at_once_is_retried_less_and_less() -> None:
    """Every connection is made, but none lasts, so the waits grow all the same."""

    async def closes(ws: web.WebSocketResponse) -> None:
        await ws.close(code=1013, message=b"too slow")

    async with running_peer(closes) as peer, listening(peer.url) as listener:
        await listener.connects(3)
    assert {*listener.reasons} == {"closed by the server (1013: too slow)"}
    waits = [each.wait for each in listener.states if not each.connected]
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1


async def test_idle_connection_is_kept() -> None:
    """The client pings, and answers pings, for as long as the server is there."""
    pings = asyncio.Semaphore(0)

    async def answers(ws: web.WebSocketResponse) -> None:
        await ws.ping(b"from the server")
        assert (await ws.receive()).data == b"from the server"
        while (await ws.receive()).type is WSMsgType.PING:
            pings.release()
            await ws.pong()

    async with running_peer(answers) as peer, listening(peer.url, timeout=0.05) as listener:
        for _ in range(10):
            await asyncio.wait_for(pings.acquire(), 5)
    assert [f"{each}" for each in listener.states] == ["connected"]
