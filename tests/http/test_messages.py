"""`GET /messages`: the recents as texts, byte for byte."""

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from websockets.asyncio.client import connect

from aionotify.app import NOTIFIER, create_app
from tests.support import alone, exchange

Serve = Callable[[web.Application], Awaitable[TestServer]]


class Running:
    """A server without memcached, and what was published there."""

    def __init__(self, app: web.Application, port: int) -> None:
        self._app = app
        self._port = port

    async def publish(self, *messages: str) -> None:
        """Past every wire format."""
        for message in messages:
            await self._app[NOTIFIER].publish(message)

    async def messages(self) -> bytes:
        """The body, with all before it as it has to be."""
        answer = await exchange(self._port, b"GET /messages HTTP/1.1")
        assert answer.status == b"HTTP/1.1 200 OK"
        assert answer.headers[0] == b"Content-Type: application/json"
        return answer.body

    @property
    def ws_url(self) -> str:
        """For an admin."""
        return f"ws://127.0.0.1:{self._port}/ws?client=admin"


@pytest.fixture
async def running(aiohttp_server: Serve) -> Running:
    """With nothing published yet."""
    app = create_app(alone())
    port = (await aiohttp_server(app)).port
    assert port is not None
    return Running(app, port)


async def test_nothing_was_published(running: Running) -> None:
    assert await running.messages() == b'{"recent_messages":[]}'


async def test_oldest_first(running: Running) -> None:
    await running.publish("oldest", "middle", "newest")
    assert await running.messages() == b'{"recent_messages":["oldest","middle","newest"]}'


async def test_five_at_most(running: Running) -> None:
    await running.publish(*"abcdefg")
    assert await running.messages() == b'{"recent_messages":["c","d","e","f","g"]}'


async def test_what_comes_over_a_websocket_is_there(running: Running) -> None:
    async with connect(running.ws_url) as admin:
        await admin.send("admin: Hello ")
        await admin.recv()
    assert await running.messages() == b'{"recent_messages":["Hello"]}'


async def test_the_texts_are_raw_utf_8_and_only_what_json_must_escape_is_escaped(
    running: Running,
) -> None:
    await running.publish("é 😀 \u2028", 'in\ntwo "lines" \\ / \t\x01<b>')
    assert await running.messages() == (
        b'{"recent_messages":["\xc3\xa9 \xf0\x9f\x98\x80",'
        b'"in\\ntwo \\"lines\\" \\\\ / \\t\\u0001<b>"]}'
    )
