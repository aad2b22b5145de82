"""One connected client, whatever its protocol: written to, lagging, stalled, disconnected."""

import asyncio
from typing import Any

import pytest

from aionotify.encoders import TEXT
from aionotify.stall import Acceptance
from aionotify.stats import DisconnectReason
from aionotify.subscriber import Subscriber
from tests.support.builders import FakeFeed
from tests.support.loop import HandLoop
from tests.support.transport import FakeTransport

STALL = 8.0
"""The stall time-out of these subscribers, in seconds."""


def connected(room: float = float("inf")) -> tuple[Subscriber, FakeTransport, FakeFeed]:
    """Return a subscriber, its connection, and its topic."""
    feed = FakeFeed()
    subscriber = Subscriber(TEXT, STALL)
    subscriber.topic = feed
    return subscriber, FakeTransport(subscriber, room), feed


def test_write_moves_cursor(loop: HandLoop) -> None:
    subscriber, transport, _ = connected()
    subscriber.write(b"batch", 7)
    assert (transport.take(), subscriber.cursor, subscriber.writable) == (b"batch", 7, True)
    assert loop.timers == 0


def test_partial_write_lags_until_drained(loop: HandLoop) -> None:
    """A client whose kernel takes only a part is not written to until it has taken the rest."""
    subscriber, transport, feed = connected(room=3)
    subscriber.write(b"batch", 7)
    assert not subscriber.writable
    transport.accept(1)
    assert not subscriber.writable
    assert feed.writable == []
    transport.accept(1)
    assert subscriber.writable
    assert feed.writable == [subscriber]
    assert loop.timers == 0


def test_stall_timeout_disconnects(loop: HandLoop, caplog: pytest.LogCaptureFixture) -> None:
    """A client that accepts no data for the stall time-out is disconnected, and logged."""
    subscriber, transport, feed = connected(room=0)
    with caplog.at_level("INFO", "aionotify"):
        subscriber.write(b"batch", 7)
        loop.advance(STALL - 0.1)
        assert subscriber.connected
        loop.advance(STALL / 2)
    assert not subscriber.connected
    assert transport.aborted
    assert feed.unsubscribed
    assert caplog.messages == ["disconnected client 192.0.2.1:4711: no data accepted for 8 s"]
    assert loop.timers == 0


def test_slow_progress_is_not_a_stall(loop: HandLoop) -> None:
    """A client that accepts one byte now and then stays connected."""
    subscriber, transport, _ = connected(room=0)
    subscriber.write(b"x" * 1000, 7)
    for _ in range(20):
        loop.advance(STALL * 0.7)
        transport.accept(1)
    assert subscriber.connected
    loop.advance(STALL * 1.5)
    assert not subscriber.connected


def test_lost_connection_cancels_timer(loop: HandLoop) -> None:
    subscriber, transport, feed = connected(room=0)
    subscriber.write(b"batch", 7)
    transport.lose()
    loop.settle()
    assert (subscriber.connected, subscriber.writable, loop.timers) == (False, False, 0)
    assert feed.unsubscribed == [subscriber]


def test_closing_client_is_not_resumed(loop: HandLoop) -> None:
    """A client that drains while it is being closed gets nothing more."""
    subscriber, transport, feed = connected(room=0)
    subscriber.write(b"batch", 7)
    subscriber._close_within(5)
    transport.accept()
    assert not subscriber.writable
    assert feed.writable == []
    loop.advance(6)
    assert transport.aborted


def test_tls_pauses_with_first_byte(loop: HandLoop) -> None:
    """A TLS transport pauses at its limit, and not above it as others do.

    With a limit of 0 it would pause at once, and nothing would ever make it go on.
    """
    limits: list[int] = []

    class Transport(asyncio.Transport):
        def __init__(self, encrypted: bool) -> None:
            super().__init__()
            self.encrypted = encrypted

        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return object() if name == "sslcontext" and self.encrypted else default

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            limits.append(high or 0)

    for encrypted in (False, True):
        Subscriber(TEXT, STALL).connection_made(Transport(encrypted))
    assert limits == [0, 1]


def test_unread_data_starts_stall_time_out(loop: HandLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the kernel's buffer has room, so that nothing pauses."""
    subscriber, transport, feed = connected()
    stuck = Acceptance(5, True)
    monkeypatch.setattr("aionotify.subscriber.acceptance", lambda transport: stuck)
    monkeypatch.setattr("aionotify.stall.acceptance", lambda transport: stuck)
    assert subscriber._watch_outstanding()
    assert subscriber._watch_outstanding()
    assert loop.timers == 1
    loop.advance(STALL * 1.3)
    assert transport.aborted
    assert feed.stats.disconnected == {DisconnectReason.STALLED: 1}


def test_watched_client_that_lags_stays_watched(
    loop: HandLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress ends the watch of a heartbeat, but not while the transport is paused."""
    subscriber, transport, _ = connected(room=0)
    now = Acceptance(5, True)
    monkeypatch.setattr("aionotify.subscriber.acceptance", lambda transport: now)
    monkeypatch.setattr("aionotify.stall.acceptance", lambda transport: now)
    subscriber._watch_outstanding()
    loop.advance(STALL * 0.3)
    subscriber.write(b"batch", 7)
    now = Acceptance(6, True)
    loop.advance(STALL * 0.3)
    assert subscriber.connected
    assert loop.timers == 1
    loop.advance(STALL * 1.5)
    assert transport.aborted
