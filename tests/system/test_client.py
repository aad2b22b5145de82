"""`aionotify.client` with a server that works, or refuses: `listen` and `publish`."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify.client import Gap, Notification, Refused, listen, publish
from tests.support import ROOT, MemcachedProcess, ServerProcess, eventually, running_server
from tests.support.client import connected_clients
from tests.support.environment import with_memcached, without_memcached
from tests.support.listener import listening
from tests.support.nginx import running_nginx

ADMIN, USER = "token-of-an-admin", "token-of-a-user-1"
TOKENS = {"AIONOTIFY_ADMIN_TOKEN": ADMIN, "AIONOTIFY_USER_TOKEN": USER}

LONGEST = 1_048_576
"""The longest message that the settings allow, in bytes."""


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    """Start a server without memcached and tokens."""
    async with running_server(without_memcached()) as process:
        yield process


def test_import_loads_nothing_of_the_server() -> None:
    """Nor any of its dependencies but aiohttp, so that they need not be installed."""
    program = "import aionotify.client, sys; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout.split()
    assert "aiohttp" in modules
    ours = {each for each in modules if each.split(".")[0] == "aionotify"}
    assert {"aionotify", "aionotify.client"} == {each for each in ours if each.count(".") < 2}
    assert all(each == "aionotify" or each.startswith("aionotify.client") for each in ours)
    assert not {"aiomcache", "dotenv", "prometheus_client", "pythonjsonlogger"} & {*modules}


async def test_publish_returns_the_notification(server: ServerProcess) -> None:
    message = "é 😀\n{}\x00\ufeff"
    published = await publish(server.url, message)
    assert (published.message, published.topic) == (message, "main")
    other = await publish(server.url.replace("http", "ws"), "\ufeffHello", "other")
    assert (other.message, other.topic) == ("\ufeffHello", "other")
    assert int(other.id) > int(published.id)
    assert other.time >= published.time


async def test_listen_yields_recent_and_live_notifications(server: ServerProcess) -> None:
    recent = [await publish(server.url, message) for message in "ab"]
    await publish(server.url, "elsewhere", "other")
    async with listening(server.url) as listener:
        await listener.receives("a", "b")
        live = await publish(server.url, "c")
        await listener.receives("a", "b", "c")
    assert [each.id for each in listener.events] == [each.id for each in [*recent, live]]
    assert [each.recent for each in listener.events if isinstance(each, Notification)] == [
        *(True, True, False)
    ]
    assert [f"{each}" for each in listener.states] == ["connected"]


async def test_listen_starts_after_since(server: ServerProcess) -> None:
    """Past the recent notifications, which are five."""
    first, *_ = [await publish(server.url, f"{number}", "a.b") for number in range(9)]
    async with listening(server.url, topics="a.b", since=first.id) as listener:
        await listener.receives(*"12345678")
    async with listening(server.url, topics="a.b", since="1") as listener:
        await listener.receives(*"012345678")
    (gap,) = listener.gaps
    assert gap is listener.events[0]
    assert gap.missed is None


async def test_topics_are_followed_on_one_connection(server: ServerProcess) -> None:
    """In the order of publication; one id is a position in both."""
    first, *_ = [await publish(server.url, each, each) for each in ("a", "b", "a", "c", "b")]
    async with listening(server.url, topics=["a", "b"]) as listener:
        await listener.receives("a", "b", "a", "b")
        await publish(server.url, "live", "b")
        await listener.receives("a", "b", "a", "b", "live")
    async with listening(server.url, topics=("b", "a"), since=first.id) as listener:
        await listener.receives("b", "a", "b", "live")
    assert (listener.connections, listener.gaps) == (1, [])


async def test_fields_arrive_as_they_were_given(server: ServerProcess) -> None:
    """Data that is null counts as none, in both directions."""
    fields: dict[str, Any] = {"title": "é", "url": "/7", "tag": "t-1", "data": {"a": [None, 1.5]}}
    sent = [await publish(server.url, "a", **fields), await publish(server.url, "b", data=None)]
    async with aiohttp.ClientSession() as session:
        document = {"message": "c", "data": None}
        async with session.post(f"{server.url}/notifications", json=document) as response:
            assert response.status == 201
    async with listening(server.url) as listener:
        await listener.receives("a", "b", "c")
    received = [each for each in listener.events if isinstance(each, Notification)]
    assert [replace(each, recent=False) for each in received[:2]] == sent
    assert (sent[0].title, sent[0].url, sent[0].tag, sent[0].data) == (*fields.values(),)
    assert [each.data for each in received[1:]] == [None, None]


async def test_longest_message_is_published_and_received() -> None:
    """JSON escapes each of its characters to six bytes, more than aiohttp reads by default."""
    message = "\x01" * LONGEST
    async with (
        running_server(without_memcached(AIONOTIFY_MAX_MESSAGE_BYTES=f"{LONGEST}")) as server,
        listening(server.url) as listener,
    ):
        await listener.connects(1)
        await publish(server.url, message)
        await eventually(lambda: listener.messages == [message])
    assert listener.connections == 1


async def test_token_is_in_the_header_only() -> None:
    async with running_server(without_memcached(**TOKENS, AIONOTIFY_LOG_LEVEL="debug")) as server:
        async with listening(server.url, token=USER) as listener:
            await listener.connects(1)
            await publish(server.url, "Hello", token=ADMIN)
            await listener.receives("Hello")
        assert await server.stop() == 0
        assert "GET /ws" in server.output()
        assert "token" not in server.output().split("listening on", 1)[1]


async def test_refused_listen_raises_the_sentence_at_once() -> None:
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 401, "A token is required to subscribe"),
        ({"token": "a wrong one"}, 401, "The token is invalid or has expired"),
        ({"token": USER, "topics": "a b"}, 400, "topic: invalid value 'a b'"),
        ({"token": USER, "since": "yesterday"}, 400, "since: invalid value 'yesterday'"),
    ]
    states: list[object] = []
    async with running_server(without_memcached(**TOKENS)) as server:
        for options, status, detail in cases:
            with pytest.raises(Refused, match=detail) as caught:
                await anext(listen(server.url, **options, on_state=states.append))
            assert caught.value.status == status
    assert states == []


async def test_refused_publish_raises_the_sentence() -> None:
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"token": USER}, 401, "An admin token is required to publish"),
        ({"token": ADMIN, "topic": "a b"}, 400, "topic: invalid value 'a b'"),
        ({"token": ADMIN, "message": " "}, 400, "Empty notifications are not sent."),
        ({"token": ADMIN, "message": "x" * 70_000}, 413, "limit"),
    ]
    async with running_server(without_memcached(**TOKENS)) as server:
        for options, status, detail in cases:
            with pytest.raises(Refused, match=detail) as caught:
                await publish(server.url, **{"message": "Hello", **options})
            assert caught.value.status == status


@pytest.mark.usefixtures("impatient")
async def test_token_that_is_revoked_ends_the_loop(memcached: MemcachedProcess) -> None:
    """The server restarts with other tokens."""
    environment = with_memcached(memcached, **TOKENS)
    async with running_server(environment) as server:
        listener = asyncio.create_task(anext(listen(server.url, token=USER)))
        await eventually(lambda: has_clients(server, 1))
        port = server.port
        await server.stop()
    environment["AIONOTIFY_USER_TOKEN"] = "token-of-a-user-2"
    async with running_server(environment, "--port", f"{port}"):
        with pytest.raises(Refused, match="token"):
            await asyncio.wait_for(listener, 8)


async def test_path_prefix_is_kept(server: ServerProcess, tmp_path: Path) -> None:
    async with running_nginx(server.port, tmp_path, "/notify") as address:
        for url in (f"http://{address}/notify", f"ws://{address}/notify/"):
            async with listening(url, topics=url[:2]) as listener:
                await listener.connects(1)
                await publish(url, "Hello", url[:2])
                await listener.receives("Hello")
        with pytest.raises(Refused, match=r"Not Found \(HTTP 404\)"):
            await publish(f"http://{address}/elsewhere", "Hello")


async def test_publish_follows_no_redirect(tmp_path: Path) -> None:
    """A redirect to https would turn the POST into a GET, and the message would be lost."""

    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently(f"/elsewhere{request.path}")

    app = web.Application()
    app.router.add_post("/notifications", redirect)
    async with TestServer(app) as server:
        with pytest.raises(Refused, match="Moved Permanently"):
            await publish(str(server.make_url("/")), "Hello")


async def test_publish_without_an_answer_raises(server: ServerProcess) -> None:
    server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        await publish(server.url, "Hello", timeout=0.2)
    server.process.kill()
    await server.process.wait()
    with pytest.raises(aiohttp.ClientError):
        await publish(server.url, "Hello", timeout=0.2)


async def test_publish_to_another_server_raises() -> None:
    async def accept(request: web.Request) -> web.Response:
        return web.Response(text="OK")

    app = web.Application()
    app.router.add_post("/notifications", accept)
    async with TestServer(app) as server:
        with pytest.raises(ValueError, match=r"."):
            await publish(str(server.make_url("/")), "Hello")


async def test_slow_consumer_makes_the_server_wait() -> None:
    """Nothing is read while the caller is busy, so the client's memory is bounded.

    The server keeps as much as it has room for, and counts exactly the rest. The client does
    not take the server for dead meanwhile.
    """
    count, message = 250, "x" * 60_000
    states: list[object] = []
    async with running_server(without_memcached(AIONOTIFY_HISTORY_LIMIT="20")) as server:
        events = listen(server.url, timeout=0.1, on_state=states.append)
        async with aclosing(events), aiohttp.ClientSession() as session:
            first = asyncio.create_task(anext(events))
            await eventually(lambda: has_clients(server, 1))
            for _ in range(count):
                async with session.post(f"{server.url}/notifications", data=message) as response:
                    assert response.status == 201
            received, missed = 1, 0
            assert isinstance(await first, Notification)
            while received + missed < count:
                event = await anext(events)
                received += isinstance(event, Notification)
                missed += event.missed or 0 if isinstance(event, Gap) else 0
    assert received + missed == count
    assert missed > count / 3
    assert len(states) == 1


async def has_clients(server: ServerProcess, number: int) -> bool:
    """Return whether the server has `number` WebSocket clients."""
    return await connected_clients(server.url) == number
