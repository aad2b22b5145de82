"""Replays: clients that are behind, served after live delivery."""

import pytest

import aionotify.fanout
from aionotify.encoders import MAX_BATCH
from aionotify.eventstream import EventStream
from aionotify.subscriber import State
from tests.support.builders import STALL_TIMEOUT, LiveTopic
from tests.support.deliveries import numbers
from tests.support.loop import HandLoop
from tests.support.transport import FakeTransport


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """End every slice as early as possible, so that each turn shows the order of service."""
    monkeypatch.setattr(aionotify.fanout, "TIME_SLICE", -1)
    monkeypatch.setattr(aionotify.fanout, "REPLAY_SLICE", -1)


def replaying(live: LiveTopic, count: int) -> list[FakeTransport]:
    """Return clients that resume from the first notification of `live`."""
    transports = []
    for _ in range(count):
        subscriber = EventStream(STALL_TIMEOUT, chunked=False)
        transports.append(FakeTransport(subscriber))
        live.topic.subscribe_since(subscriber, live.ids[0], b"")
    return transports


def test_live_delivery_precedes_replays(loop: HandLoop, short_slices: None) -> None:
    """However many replay however much, a new notification takes one turn of the loop."""
    live = LiveTopic()
    for _ in range(100):
        live.publish(MAX_BATCH)
    loop.settle()
    follower = live.join()
    clients = replaying(live, 8)
    for number in range(100, 120):
        loop.turn()
        live.publish()
        loop.turn()
        assert numbers(follower.take()) == [number]
    assert all(client.protocol.state is State.REPLAYING for client in clients)
    loop.settle()
    for client in clients:
        assert client.protocol.state is State.OPEN
        assert client.sent.count(b"\ndata: {") == 119 + 1  # and its position
        assert client.protocol.cursor == live.topic.history.head


def test_replays_progress_beside_live_delivery(loop: HandLoop, short_slices: None) -> None:
    """Live delivery that never pauses does not starve those that are behind."""
    live = LiveTopic()
    for _ in range(20):
        live.publish(MAX_BATCH)
    loop.settle()
    for _ in range(50):
        live.join()
    (client,) = replaying(live, 1)
    for _ in range(30):
        live.publish()
        loop.turn()
    assert client.sent.count(b'"recent":true') == 19


def test_replay_evicted_before_its_end_is_caught_up(loop: HandLoop) -> None:
    """A client that falls out of the history in mid-replay is told the gap and its position."""
    live = LiveTopic(limit=10)
    for _ in range(10):
        live.publish(MAX_BATCH)
    loop.settle()
    subscriber = EventStream(STALL_TIMEOUT, chunked=False)
    client = FakeTransport(subscriber, room=0)
    live.topic.subscribe_since(subscriber, live.ids[2], b"")
    for _ in range(15):
        live.publish()
        loop.settle()
    client.accept()
    loop.settle()
    events = client.sent.decode().split("\n\n")[:-1]
    kinds = [each.partition("\n")[0] for each in events[:4]]
    gap = live.ids[14]
    assert kinds == [f"id: {live.ids[3]}", "event: gap", "event: subscribed", f"id: {live.ids[15]}"]
    assert f'"missed":11,"id":"{gap}"' in events[1]
    assert f'"id":"{gap}"' in events[2]
    assert "recent" not in events[3]
    assert len(events) == 3 + 10


def test_publishers_wait_until_a_pass_is_finished(
    loop: HandLoop, short_slices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only until it has started: the last subscriber still needs what was published."""
    monkeypatch.setattr(aionotify.fanout, "CLOCK_CHECK_EVERY", 1)
    live = LiveTopic(limit=4)
    for _ in range(10):
        live.join()
    live.publish()
    live.publish()
    assert live.topic.backlogged
    waiting = loop.create_task(live.topic.wait_delivered())
    for _ in range(9):
        loop.turn()
        assert live.topic.backlogged
        assert not waiting.done()
    loop.settle()
    assert not live.topic.backlogged
    assert waiting.done()
