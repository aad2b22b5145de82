"""A topic: subscribing, lagging and unsubscribing."""

import pytest

from aionotify.eventstream import EventStream
from aionotify.ids import IdSource
from aionotify.subscriber import State, Subscriber
from aionotify.topic import Topic
from tests.support.builders import NOW, STALL_TIMEOUT, append, new_topic


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
    subscriber, other = subscribed(topic), subscribed(topic)
    topic.unsubscribe(subscriber)
    topic.unsubscribe(subscriber)
    assert list(topic.subscribers) == [other]
    assert topic.stats.connections.total() == 1
    assert calls.empty == []
    topic.unsubscribe(other)
    assert topic.stats.connections.total() == 0
    assert calls.empty == [topic]
