"""`GET /ws?format=json`: objects both ways, and resume."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from aionotify.app import NOTIFIER, create_app
from aionotify.notification import Notification
from tests.support import alone, exchange

Serve = Callable[[web.Application], Awaitable[TestServer]]

ACCEPTED = 'Accepted is JSON like {"message":"Hello"}, with valid Unicode.'


class Running:
    """A server without memcached."""

    def __init__(self, app: web.Application, port: int) -> None:
        self.app = app
        self.port = port

    async def publish(self, *messages: str) -> list[Notification]:
        """Past every wire format."""
        return [await self.app[NOTIFIER].publish(message) for message in messages]

    @asynccontextmanager
    async def client(
        self, query: str = "", path: str = "/ws?format=json"
    ) -> AsyncIterator[ClientConnection]:
        """A strict client."""
        url = f"ws://127.0.0.1:{self.port}{path}{query}"
        async with connect(url, compression=None, max_size=None) as connection:
            yield connection


async def serve(aiohttp_server: Serve, **values: int) -> Running:
    app = create_app(alone(**values))
    port = (await aiohttp_server(app)).port
    assert port is not None
    return Running(app, port)


@pytest.fixture
async def running(aiohttp_server: Serve) -> Running:
    """With nothing published yet."""
    return await serve(aiohttp_server)


async def frame(client: ClientConnection) -> str:
    """The next one."""
    return str(await asyncio.wait_for(client.recv(), 5))


async def frames(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    """As many, decoded."""
    return [json.loads(await frame(client)) for _ in range(count)]


async def test_recents_and_live_ones_are_objects(running: Running) -> None:
    await running.publish(*"abcdef")
    async with running.client() as client:
        shown = await frames(client, 5)
        assert [each["message"] for each in shown] == list("bcdef")
        assert all(each["recent"] is True for each in shown)
        (live,) = await running.publish("é")
        text = await frame(client)
        assert text.startswith(f'{{"type":"notification","id":"{live.id}","time":"20')
        assert text.endswith('Z","topic":"main","message":"é"}')


async def test_a_sender_hears_that_it_is_accepted(running: Running) -> None:
    async with running.client("&client=admin") as admin, running.client() as other:
        await admin.send('{"message":" admin:Hello "}')
        both = await frames(admin, 2)
        (heard,) = await frames(other, 1)
        assert {"type": "accepted", "id": heard["id"]} in both
        assert heard in both
        assert heard["message"] == "admin:Hello"


async def test_a_user_sends_with_the_prefix_and_nothing_else(running: Running) -> None:
    async with running.client() as user:
        await user.send('{"message":"admin:Hello"}')
        first, second = await frames(user, 2)
        assert (first["message"], second["type"]) == ("Hello", "accepted")
        await user.send('{"message":"Hello"}')
        assert await frame(user) == (
            '{"type":"error","detail":"You are not authorized to send notifications."}'
        )


@pytest.mark.parametrize(
    "text",
    [
        *("", "Hello", "[]", "{}", "null", '{"message":1}', '{"message":null}', '{"message":{}}'),
        *('{"message":"\\ud800"}', "[" * 60_000, '{"message":"x"'),
    ],
)
async def test_what_is_no_such_object_is_answered_with_an_error(
    running: Running, text: str
) -> None:
    async with running.client("&client=admin") as admin:
        await admin.send(text)
        assert await frames(admin, 1) == [{"type": "error", "detail": ACCEPTED}]
        await admin.send('{"message":"goes on"}')
        assert (await frames(admin, 2))[0]["message"] == "goes on"


async def test_an_empty_message_is_an_error(running: Running) -> None:
    async with running.client("&client=admin") as admin:
        await admin.send('{"message":" "}')
        assert await frame(admin) == (
            '{"type":"error","detail":"Empty notifications are not sent."}'
        )


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"binary", 1003),
        ('{"message":"%s"}' % ("x" * 101), 1009),
        ('{"message":"%s"}' % ("x" * 10_000), 1009),
    ],
)
async def test_what_ends_the_connection(
    aiohttp_server: Serve, sent: str | bytes, code: int
) -> None:
    running = await serve(aiohttp_server, max_message_bytes=100)
    async with running.client("&client=admin") as admin:
        await admin.send(sent)
        with contextlib.suppress(ConnectionClosed):
            await asyncio.wait_for(admin.recv(), 5)
        assert admin.close_code == code


async def test_topics_are_apart(running: Running) -> None:
    async with (
        running.client("&topic=a&client=admin") as a,
        running.client("&topic=b") as b,
        running.client(path="/ws?topic=b&client=admin") as text,
    ):
        await a.send('{"message":"for a"}')
        assert (await frames(a, 2))[0]["topic"] == "a"
        await text.send("for b")
        assert await frame(text) == "[Notification] for b"
        (heard,) = await frames(b, 1)
        assert (heard["topic"], heard["message"]) == ("b", "for b")


async def test_who_resumes_gets_all_that_came_after_and_then_live_ones(running: Running) -> None:
    published = await running.publish(*(f"{number}" for number in range(200)))
    async with running.client(f"&since={published[49].id}") as client:
        shown = await frames(client, 150)
        assert [each["message"] for each in shown] == [f"{number}" for number in range(50, 200)]
        assert all(each["recent"] for each in shown)
        await running.publish("live")
        (live,) = await frames(client, 1)
        assert live["message"] == "live"
        assert "recent" not in live


async def test_a_long_replay_comes_whole_while_others_publish(running: Running) -> None:
    """More than one write can carry: it follows, marked up to where the client joined."""
    published = await running.publish(*(f"{number} " + "x" * 10_000 for number in range(500)))
    async with running.client(f"&since={published[0].id}") as client:
        await running.publish(*(f"{number} live" for number in range(500, 600)))
        shown = await frames(client, 599)
    numbers = [int(each["message"].partition(" ")[0]) for each in shown]
    assert numbers == list(range(1, 600))
    assert all(("recent" in each) == (number < 500) for number, each in enumerate(shown, 1))


@pytest.mark.parametrize("since", ["1", "9007199254740991"])
async def test_a_gap_of_unknown_size_comes_first(running: Running, since: str) -> None:
    await running.publish("a")
    async with running.client(f"&since={since}") as client:
        assert await frame(client) == '{"type":"gap","missed":null}'


async def test_the_floor_itself_is_known(aiohttp_server: Serve) -> None:
    running = await serve(aiohttp_server, history_limit=2)
    published = await running.publish(*"abcd")
    async with running.client(f"&since={published[1].id}") as client:
        assert [each["message"] for each in await frames(client, 2)] == ["c", "d"]
    async with running.client(f"&since={published[0].id}") as client:
        first, *others = await frames(client, 3)
        assert first == {"type": "gap", "missed": None}
        assert [each["message"] for each in others] == ["c", "d"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?since=1", "since needs format=json: texts cannot tell what was missed."),
        ("?format=text&since=1", "since needs format=json: texts cannot tell what was missed."),
        ("?format=xml", "format='xml' is not accepted; accepted are text and json."),
        ("?format=", "format='' is not accepted; accepted are text and json."),
        ("?format=json&since=x", "since='x' is not accepted; accepted is the id of a notification"),
        ("?topic=%2F", "The topic '/' is not accepted; accepted are 1 to 64 letters, digits"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_the_upgrade(
    running: Running, query: str, sentence: str
) -> None:
    answer = await exchange(
        running.port,
        b"GET /ws%b HTTP/1.1" % query.encode(),
        *(b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"),
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert json.loads(answer.body)["detail"].startswith(sentence)


async def test_format_text_is_layer_1(running: Running) -> None:
    await running.publish("a")
    async with running.client(path="/ws?format=text") as client:
        assert await frame(client) == "[Recent] a"
