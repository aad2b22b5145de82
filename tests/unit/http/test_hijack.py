"""Taking a connection away from aiohttp, over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify.encoders import JSON
from aionotify.errors import Unavailable
from aionotify.http.heads import Head
from aionotify.http.hijack import HijackedResponse, subscribe
from aionotify.http.query import Format, SubscribeRequest
from aionotify.notifier import Notifier
from aionotify.stats import RejectReason
from aionotify.subscriber import Subscriber
from tests.support import eventually

pytestmark = pytest.mark.both_loops

HEAD = Head(101, b"HTTP/1.1 101 Switching Protocols\r\nX-Test: yes\r\n\r\n")
WANTED = SubscribeRequest(("news",), 7, Format.JSON, "192.0.2.1")
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class RecordingSubscriber(Subscriber):
    """Records the input, and whether the connection was lost."""

    def __init__(self) -> None:
        super().__init__(JSON, 30)
        self.calls: list[object] = []

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")


class FakeNotifier:
    """Replaces the notifier and its subscription."""

    def __init__(self) -> None:
        self.prepared: list[tuple[str, str | None]] = []
        self.error: Exception | None = None

    async def prepare(
        self, names: Sequence[str], address: str | None, since: int | None
    ) -> "FakeNotifier":
        self.prepared.extend((name, address) for name in names)
        if self.error is not None:
            raise self.error
        return self

    def start(self, subscriber: RecordingSubscriber, head: bytes, since: int | None) -> None:
        subscriber.calls.append(("start", since))
        subscriber.transport.write(head)


class Hijacking:
    """A server of aiohttp whose only handler hands the connection to a subscriber."""

    def __init__(self) -> None:
        self.notifier = FakeNotifier()
        self.subscriber = RecordingSubscriber()
        self.results: list[HijackedResponse | Exception] = []
        self.before: Callable[[web.Request], None] = lambda request: None
        app = web.Application()
        app.router.add_get("/", self._handle)
        self.server = TestServer(app)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.before(request)
        try:
            notifier = cast(Notifier, self.notifier)
            response = await subscribe(request, notifier, WANTED, self.subscriber, HEAD)
        except Exception as error:
            self.results.append(error)
            raise
        self.results.append(response)
        return response

    @asynccontextmanager
    async def request(
        self, data: bytes = REQUEST
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Send `data` on a new connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(data)
        try:
            yield reader, writer
        finally:
            writer.close()

    @property
    def kept_by_aiohttp(self) -> int:
        """The number of connections that aiohttp still knows."""
        assert self.server.handler is not None
        return len(self.server.handler.connections)


@pytest.fixture
async def hijacking() -> AsyncIterator[Hijacking]:
    """Start the server on 127.0.0.1."""
    made = Hijacking()
    await made.server.start_server()
    yield made
    await made.server.close()


async def head_of(reader: asyncio.StreamReader) -> bytes:
    """Return the next head."""
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)


async def test_subscriber_sends_the_only_head(hijacking: Hijacking) -> None:
    async with hijacking.request() as (reader, _):
        assert await head_of(reader) == HEAD.data
        hijacking.subscriber.transport.close()
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert hijacking.notifier.prepared == [("news", "192.0.2.1")]
    assert hijacking.subscriber.calls[0] == ("start", 7)
    assert hijacking.subscriber.client_address == "192.0.2.1"


async def test_response_has_status_of_head(hijacking: Hijacking) -> None:
    """The log needs it."""
    async with hijacking.request() as (reader, _):
        await head_of(reader)
    (response,) = hijacking.results
    assert isinstance(response, HijackedResponse)
    assert response.status == 101


async def test_input_behind_request_comes_after_start(hijacking: Hijacking) -> None:
    async with hijacking.request(REQUEST + b"frames") as (reader, writer):
        await head_of(reader)
        writer.write(b"more")
        await eventually(lambda: hijacking.subscriber.calls[2:] == [b"more"])
    assert hijacking.subscriber.calls[:2] == [("start", 7), b"frames"]


async def test_aiohttp_forgets_the_connection(hijacking: Hijacking) -> None:
    """Neither its keep-alive timer nor its shutdown closes the connection."""
    async with hijacking.request() as (reader, _):
        await head_of(reader)
        assert hijacking.kept_by_aiohttp == 0
        assert hijacking.server.handler is not None
        await hijacking.server.handler.shutdown(1)
        hijacking.subscriber.transport.write(b"still open")
        assert await asyncio.wait_for(reader.readexactly(10), 5) == b"still open"
        assert "lost" not in hijacking.subscriber.calls


async def test_subscriber_notices_the_end(hijacking: Hijacking) -> None:
    async with hijacking.request() as (reader, writer):
        await head_of(reader)
        writer.transport.abort()
        await eventually(lambda: hijacking.subscriber.calls[-1] == "lost")


async def test_unavailable_leaves_the_connection(hijacking: Hijacking) -> None:
    """aiohttp can still send the error."""
    hijacking.notifier.error = Unavailable("Not now.", RejectReason.STOPPING)
    async with hijacking.request() as (reader, _):
        assert (await head_of(reader)).startswith(b"HTTP/1.1 500 ")
    assert hijacking.subscriber.calls == []


async def test_disconnected_client_is_not_subscribed(hijacking: Hijacking) -> None:
    def disconnect(request: web.Request) -> None:
        assert request.transport is not None
        request.transport.abort()

    hijacking.before = disconnect
    async with hijacking.request() as (reader, _):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    (error,) = hijacking.results
    assert isinstance(error, ConnectionResetError)
    assert hijacking.subscriber.calls == []
