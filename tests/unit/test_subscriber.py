"""One connected client, whatever it speaks: written to, lagging, stalled, gone."""

from collections.abc import Iterator

import pytest

from aionotify.encoders import TEXT
from aionotify.subscriber import Subscriber
from tests.support.loop import FakeTransport, HandLoop, hand_turned
from tests.unit.test_websocket import STALL, Audience


@pytest.fixture
def loop() -> Iterator[HandLoop]:
    """The running loop, turned by hand."""
    with hand_turned() as loop:
        yield loop


def connected(room: float = float("inf")) -> tuple[Subscriber, FakeTransport, Audience]:
    """A subscriber, its connection, and those it is among."""
    audience = Audience()
    subscriber = Subscriber(TEXT, STALL)
    subscriber.topic = audience
    return subscriber, FakeTransport(subscriber, room), audience


def test_a_batch_moves_the_cursor_and_is_written_at_once(loop: HandLoop) -> None:
    subscriber, transport, _ = connected()
    subscriber.write(b"batch", 7)
    assert (transport.take(), subscriber.cursor, subscriber.writable) == (
        b"batch",
        7,
        True,
    )
    assert loop.timers == 0


def test_one_whose_kernel_takes_not_all_lags_until_it_has_drained(loop: HandLoop) -> None:
    subscriber, transport, audience = connected(room=3)
    subscriber.write(b"batch", 7)
    assert not subscriber.writable
    transport.accept(1)
    assert not subscriber.writable
    assert audience.back == []
    transport.accept(1)
    assert subscriber.writable
    assert audience.back == [subscriber]
    assert loop.timers == 0


def test_who_accepts_nothing_for_the_stall_time_out_is_cut_off(
    loop: HandLoop, caplog: pytest.LogCaptureFixture
) -> None:
    subscriber, transport, audience = connected(room=0)
    with caplog.at_level("INFO", "aionotify"):
        subscriber.write(b"batch", 7)
        loop.advance(STALL - 0.1)
        assert subscriber.connected
        loop.advance(STALL / 2)
    assert not subscriber.connected
    assert transport.aborted
    assert audience.gone
    assert caplog.messages == ["disconnected client 192.0.2.1:4711: no data accepted for 8 s"]
    assert loop.timers == 0


def test_who_accepts_a_little_now_and_then_is_not_cut_off(loop: HandLoop) -> None:
    subscriber, transport, _ = connected(room=0)
    subscriber.write(b"x" * 1000, 7)
    for _ in range(20):
        loop.advance(STALL * 0.7)
        transport.accept(1)
    assert subscriber.connected
    loop.advance(STALL * 1.5)
    assert not subscriber.connected


def test_a_client_that_is_lost_leaves_no_timer(loop: HandLoop) -> None:
    subscriber, transport, audience = connected(room=0)
    subscriber.write(b"batch", 7)
    transport.lose()
    loop.settle()
    assert (
        subscriber.connected,
        subscriber.writable,
        loop.timers,
    ) == (False, False, 0)
    assert audience.gone == [subscriber]


def test_one_that_is_leaving_is_not_taken_up_again(loop: HandLoop) -> None:
    subscriber, transport, audience = connected(room=0)
    subscriber.write(b"batch", 7)
    subscriber._close_within(5)
    transport.accept()
    assert not subscriber.writable
    assert audience.back == []
    loop.advance(6)
    assert transport.aborted
