"""A topic: subscribing, lagging and unsubscribing."""

import pytest

from aionotify.encoders import EVENT_STREAM
from aionotify.eventstream import EventStream
from aionotify.ids import IdSource
from aionotify.subscriber import State, Subscriber
from aionotify.topic import Topic
from tests.support.builders import NOW, STALL_TIMEOUT, LiveTopic, append, new_topic
from tests.support.loop import HandLoop
from tests.support.transport import FakeTransport


class Calls:
    """The topics for which a topic's two callbacks were called."""

    def __init__(self) -> None:
        self.wake: list[Topic] = []
        self.empty: list[Topic] = []


@pytest.fixture
def calls() -> Calls:
    """The calls of the callbacks of `topic`."""
    return Calls()


@pytest.fixture
def topic(calls: Calls) -> Topic:
    """A topic with one notification."""
    topic = new_topic(10, wake=calls.wake.append, on_empty=calls.empty.append)
    append(topic.history, "before", IdSource())
    return topic


def subscribed(topic: Topic) -> Subscriber:
    """Return a new subscriber of `topic`."""
    subscriber = EventStream(STALL_TIMEOUT, chunked=True)
    subscriber.client_address = "192.0.2.1"
    topic.subscribe(subscriber)
    return subscriber


def test_subscriber_starts_at_head(topic: Topic, calls: Calls) -> None:
    assert subscribed(topic).cursor == 1
    assert calls.wake == []


def test_subscribers_keep_their_order(topic: Topic) -> None:
    """The fan-out visits them in the order in which their memory was allocated."""
    subscribers = [subscribed(topic) for _ in range(20)]
    assert list(topic.subscribers) == subscribers


def test_writable_subscriber_is_visited_if_behind(topic: Topic, calls: Calls) -> None:
    """A subscriber that lagged is queued for the fan-out only if something is new for it."""
    subscriber = subscribed(topic)
    topic.on_writable(subscriber)
    assert (list(topic.replaying), calls.wake) == ([], [])
    append(topic.history, "new", IdSource(), NOW + 1)
    topic.on_writable(subscriber)
    assert (list(topic.replaying), calls.wake) == ([subscriber], [topic])
    assert subscriber.state is State.REPLAYING


def test_unsubscribe_is_idempotent(topic: Topic, calls: Calls) -> None:
    """Unsubscribing twice counts once; the last subscriber leaves an empty topic."""
    topic.stats.addresses.limit = 2
    subscriber, other = subscribed(topic), subscribed(topic)
    assert topic.stats.addresses.is_full(other.address)
    topic.unsubscribe(subscriber)
    topic.unsubscribe(subscriber)
    assert list(topic.subscribers) == [other]
    assert topic.stats.connections.total() == 1
    topic.stats.addresses.limit = 1
    assert topic.stats.addresses.is_full(other.address)
    assert calls.empty == []
    topic.unsubscribe(other)
    assert not topic.stats.addresses.is_full(other.address)
    assert topic.stats.connections.total() == 0
    assert calls.empty == [topic]


# -------------------------------------------------------------------------------------- replays


@pytest.mark.parametrize("since", [None, 1])
def test_head_precedes_replay_by_a_turn(loop: HandLoop, since: int | None) -> None:
    """Some clients lose frames that arrive together with the head of a 101.

    New notifications follow the replay.
    """
    live = LiveTopic()
    live.publish()
    subscriber = EventStream(STALL_TIMEOUT, chunked=False)
    client = FakeTransport(subscriber)
    if since is None:
        recents = live.topic.history.between(0, 1000)
        live.topic.subscribe_recent(subscriber, recents, b"head")
    else:
        live.topic.subscribe_since(subscriber, since, b"head")
    live.publish()
    assert (client.take(), client.writes) == (b"head", 1)
    loop.turn()
    assert client.take() == b""
    loop.settle()
    kinds = [each.partition(b"\n")[0] for each in client.take().split(b"\n\n")]
    gap = [] if since is None else [b"event: gap"]
    first, second = (b"id: %d" % id for id in live.ids)
    assert kinds == [*gap, first, b"event: subscribed", second, b""]
    assert subscriber.encoder is EVENT_STREAM


def test_lagging_head_is_followed_by_replay(loop: HandLoop) -> None:
    """A connection that cannot even take the head gets everything once it can."""
    live = LiveTopic()
    subscriber = EventStream(STALL_TIMEOUT, chunked=False)
    client = FakeTransport(subscriber, room=0)
    live.topic.subscribe_recent(subscriber, [], b"head")
    loop.settle()
    assert client.writes == 1
    client.accept()
    loop.settle()
    assert client.take().startswith(b"headevent: subscribed\n")
    assert client.sent.count(b"subscribed") == 0


def test_catch_up_finishes_recents(loop: HandLoop) -> None:
    """A reply comes behind the recent notifications, and behind later ones."""
    live = LiveTopic()
    live.publish()
    subscriber = EventStream(STALL_TIMEOUT, chunked=False)
    client = FakeTransport(subscriber)
    live.topic.subscribe_recent(subscriber, live.topic.history.between(0, 1000), b"")
    live.publish()
    live.topic.catch_up(subscriber)
    data = client.take()
    for id in live.ids:
        assert b"id: %d\n" % id in data
    loop.settle()
    assert client.take() == b""


def test_vanished_client_is_not_replayed(loop: HandLoop) -> None:
    live = LiveTopic()
    live.publish()
    subscriber = EventStream(STALL_TIMEOUT, chunked=False)
    client = FakeTransport(subscriber)
    live.topic.subscribe_since(subscriber, 1, b"head")
    client.lose()
    loop.settle()
    assert client.take() == b"head"
    assert not live.topic.replaying
