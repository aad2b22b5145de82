"""Connections end with their token, whatever the clock does, and leave nothing behind."""

from collections.abc import AsyncIterator

import pytest

import aionotify.expiry as module
from aionotify.encoders import JSON, TEXT
from aionotify.expiry import ExpiringEventStream, ExpiringWebSocket, Expiry
from aionotify.frames import CloseCode, encode_close
from aionotify.grants import ALL_TOPICS, NO_TOPICS, Grant, Topics
from tests.support.builders import NOW, Clock, ignore, new_topic
from tests.support.transport import FakeTransport

NEWS = Topics(frozenset({"news"}))
CLOSED = encode_close(CloseCode.TOKEN_EXPIRED, "the token expired")


def grant(seconds: int, publish: Topics = NO_TOPICS) -> Grant:
    """Return a grant that ends `seconds` after the start of a test."""
    return Grant(publish, ALL_TOPICS, "42", int(NOW) + seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of day, which a test sets."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def websocket(expiry: Expiry, granted: Grant, *, admin: bool = False) -> FakeTransport:
    """Connect a WebSocket client that is closed in the end."""
    subscriber = ExpiringWebSocket(
        granted, expiry, JSON, 30, admin=admin, limit=100, receive=ignore
    )
    transport = FakeTransport(subscriber)
    new_topic().subscribe(subscriber)
    return transport


def client(transport: FakeTransport) -> ExpiringWebSocket:
    """Return the client of a connection."""
    assert isinstance(transport.protocol, ExpiringWebSocket)
    return transport.protocol


@pytest.fixture
async def expiry(clock: Clock) -> AsyncIterator[Expiry]:
    """Watch clients; disconnect those that are left at the end of the test."""
    expiry = Expiry()
    yield expiry
    for each in list(expiry.clients):
        assert isinstance(each, ExpiringWebSocket | ExpiringEventStream)
        each.transport.abort()


async def test_websocket_is_closed_at_the_end(clock: Clock, expiry: Expiry) -> None:
    transport = websocket(expiry, grant(60))
    clock.now = NOW + 59.9
    await expiry.check()
    assert transport.take() == b""
    clock.now = NOW + 60
    await expiry.check()
    assert transport.take() == CLOSED
    assert not expiry.clients
    transport.abort()


async def test_event_stream_ends(clock: Clock, expiry: Expiry) -> None:
    stream = ExpiringEventStream(grant(60), expiry, 30, chunked=True)
    transport = FakeTransport(stream)
    new_topic().subscribe(stream)
    assert stream.expires == int(NOW) + 60
    clock.now = NOW + 60
    await expiry.check()
    assert transport.take() == b"0\r\n\r\n"
    assert transport.is_closing()
    assert not transport.aborted


async def test_each_client_has_its_own_end(clock: Clock, expiry: Expiry) -> None:
    transports = [websocket(expiry, grant(seconds)) for seconds in (30, 10, 20, 10)]
    for now, ended in ((9, 0), (10, 2), (15, 2), (20, 3), (29, 3), (30, 4)):
        clock.now = NOW + now
        await expiry.check()
        assert sum(CLOSED in each.sent for each in transports) == ended
    for each in transports:
        each.abort()


async def test_clock_that_steps_is_obeyed(clock: Clock, expiry: Expiry) -> None:
    """Back by an hour: tokens are valid for longer. Ahead by a day: they end at the next check."""
    transport = websocket(expiry, grant(60))
    clock.now = NOW + 59
    await expiry.check()
    clock.now = NOW - 3600
    await expiry.check()
    assert transport.take() == b""
    clock.now = NOW + 86400
    await expiry.check()
    assert transport.take() == CLOSED
    transport.abort()


async def test_client_that_left_is_forgotten(clock: Clock, expiry: Expiry) -> None:
    transport = websocket(expiry, grant(60))
    client(transport).connection_lost(None)
    assert not expiry.clients
    client(transport).connection_lost(None)
    clock.now = NOW + 60
    await expiry.check()
    assert transport.take() == b""


async def test_renewal_moves_the_end(clock: Clock, expiry: Expiry) -> None:
    transport = websocket(expiry, grant(60))
    client(transport).renew(grant(120))
    clock.now = NOW + 60
    await expiry.check()
    assert transport.take() == b""
    client(transport).renew(grant(90))
    clock.now = NOW + 90
    await expiry.check()
    assert transport.take() == CLOSED
    client(transport).renew(grant(200))  # too late
    assert client(transport).expires == int(NOW) + 90
    assert not expiry.clients
    transport.abort()


@pytest.mark.parametrize(
    ("admin", "publish", "allowed"),
    [(True, NEWS, True), (True, NO_TOPICS, False), (False, ALL_TOPICS, False)],
)
async def test_publishing_needs_role_and_grant(
    expiry: Expiry, admin: bool, publish: Topics, allowed: bool
) -> None:
    subscriber = client(websocket(expiry, grant(60, publish), admin=admin))
    assert subscriber.may_publish("news") is allowed
    assert not subscriber.may_publish("other") or publish == ALL_TOPICS
    subscriber.renew(grant(60))
    assert not subscriber.may_publish("news")


def test_other_clients_are_no_larger() -> None:
    """The grant has slots in the classes for clients with a JWT only."""
    from aionotify.eventstream import EventStream
    from aionotify.websocket import WebSocketSubscriber

    for kind, base in (
        (ExpiringWebSocket, WebSocketSubscriber),
        (ExpiringEventStream, EventStream),
    ):
        assert kind.__slots__ == ("_expiry", "grant")
        assert issubclass(kind, base)
        assert not {*base.__slots__} & {*kind.__slots__}
    assert not hasattr(
        WebSocketSubscriber(TEXT, 30, admin=False, limit=1, receive=ignore), "__dict__"
    )
