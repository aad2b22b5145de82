"""`aionotify.client.publish` when an answer is late, missing, or that of a proxy."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify.client import Refused, publish
from tests.support import free_port, running_server
from tests.support.client import recent_messages
from tests.support.environment import without_memcached
from tests.support.peer import notification_frame

pytestmark = pytest.mark.usefixtures("impatient")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def created(request: web.Request) -> web.StreamResponse:
    """Answer as our server does."""
    return web.Response(status=201, text=notification_frame("Hello"))


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Answer nothing, as a server that was killed."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def breaks_off(request: web.Request) -> web.StreamResponse:
    """Answer a half of it."""
    response = web.StreamResponse(status=201, headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"{")
    return await hangs_up(request)


async def never(request: web.Request) -> web.StreamResponse:
    """Answer nothing, and keep the connection."""
    await asyncio.Event().wait()
    return web.Response()


def answers_with(status: int) -> Answer:
    """Return an answer as a proxy makes it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="<h1>No.</h1>")

    return answer


class Server:
    """A server that publishes each key once, and gives `answers`, one after another."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self.url = ""
        self.published: dict[str, Any] = {}
        self.keys: list[str] = []
        self._answers = [*answers]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        key = request.headers["Idempotency-Key"]
        self.keys.append(key)
        self.published.setdefault(key, await request.json())
        answer = self._answers.pop(0) if self._answers else created
        return await answer(request)


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncIterator[Server]:
    """Run a server; after `answers`, it answers as ours does."""
    server = Server(answers)
    app = web.Application()
    app.router.add_post("/notifications", server.handle)
    async with TestServer(app, shutdown_timeout=0.1) as made:
        server.url = str(made.make_url("/"))
        yield server


async def test_lost_answers_publish_once() -> None:
    async with serving(hangs_up, breaks_off, *map(answers_with, (502, 503, 504))) as server:
        assert (await publish(server.url, "Hello")).message == "Hello"
    assert len(server.keys) == 6
    assert [*server.published.values()] == [{"message": "Hello"}]


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 413, 422, 429, 500])
async def test_other_answer_is_final(status: int) -> None:
    async with serving(answers_with(status)) as server:
        with pytest.raises(Refused) as caught:
            await publish(server.url, "Hello")
    assert caught.value.status == status
    assert len(server.keys) == 1


async def test_key_is_random_unless_given() -> None:
    async with serving() as server:
        for key in (None, None, 'order "7"', 'order "7"'):
            await publish(server.url, "Hello", key=key)
    first, second, *own = server.keys
    assert first != second
    assert own == [r'"order \"7\""'] * 2


async def test_given_fields_are_sent() -> None:
    fields: dict[str, Any] = {"title": "", "url": "/7", "tag": "7", "data": {"a": [None, 1.5]}}
    async with serving() as server:
        await publish(server.url, "Hello", **fields)
        await publish(server.url, "Hello", title=None, data=None)
        await publish(server.url, "Hello", data=False)
    assert [*server.published.values()] == [
        {"message": "Hello", **fields},
        {"message": "Hello"},
        {"message": "Hello", "data": False},
    ]


async def test_timeout_bounds_all_attempts() -> None:
    """The last failure is raised, because it says more than that the time is up."""
    async with serving(*[answers_with(502)] * 1000) as server:
        with pytest.raises(Refused, match="502"):
            await asyncio.wait_for(publish(server.url, "Hello", timeout=0.3), 3)
        assert len(server.keys) > 1
    with pytest.raises(aiohttp.ClientConnectorError):
        await asyncio.wait_for(publish(f"http://127.0.0.1:{free_port()}", "x", timeout=0.3), 3)
    async with serving(never) as server:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(publish(server.url, "Hello", timeout=0.3), 3)
    assert len(server.keys) == 1


@asynccontextmanager
async def losing_answers(target: int, count: int) -> AsyncIterator[str]:
    """Forward a port to `target`, but drop the first `count` answers. Yield the address."""
    answers = 0

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", target)
        head = await reader.readuntil(b"\r\n\r\n")
        there_writer.write(head + await reader.read(65536))
        answer = await there_reader.read(65536)
        answers += 1
        if answers > count:
            writer.write(answer)
            await writer.drain()
        for each in (writer, there_writer):
            each.close()

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def test_server_publishes_once_whatever_is_lost() -> None:
    """The token stays the same, because keys belong to the sender that it names."""
    tokens = ["token-of-an-admin", "token-of-another-1"]
    environment = without_memcached(AIONOTIFY_ADMIN_TOKEN=",".join(tokens))
    async with running_server(environment) as server, losing_answers(server.port, 3) as url:
        published = await publish(url, "Hello", token=lambda: tokens.pop(0))
        assert await recent_messages(server.url) == ["Hello"]
    assert published.message == "Hello"
    assert len(tokens) == 1


async def test_own_key_publishes_once_for_all_calls() -> None:
    async with running_server(without_memcached()) as server:
        first = await publish(server.url, "Hello", key="order 7")
        assert await publish(server.url, "Hello", key="order 7") == first
        with pytest.raises(Refused, match="422"):
            await publish(server.url, "Goodbye", key="order 7")
        with pytest.raises(Refused, match="400"):
            await publish(server.url, "Hello", key="\N{SNOWMAN}")
        assert await recent_messages(server.url) == ["Hello"]


async def test_publish_waits_for_a_server_that_starts() -> None:
    port = free_port()
    publishing = asyncio.create_task(publish(f"http://127.0.0.1:{port}", "Hello", timeout=9))
    async with running_server(without_memcached(), "--port", f"{port}"):
        assert (await publishing).message == "Hello"


async def test_error_of_the_token_function_is_retried_or_raised() -> None:
    errors: list[Exception] = [OSError("the login is down"), KeyError("token")]

    def login() -> str:
        raise errors.pop(0)

    async with serving() as server:
        with pytest.raises(KeyError):
            await publish(server.url, "Hello", token=login)
    assert (errors, server.keys) == ([], [])
