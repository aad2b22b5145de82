"""Who is sent what: joining, lagging and leaving a topic."""

from aionotify.eventstream import EventStream
from aionotify.history import History
from aionotify.stats import Stats
from aionotify.subscriber import Subscriber
from aionotify.topic import Topic

NOW = 1_763_884_800.0


class Owner:
    """Keeps a list of what it hears."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.woken: list[Topic] = []
        self.emptied: list[Topic] = []

    def wake(self, topic: Topic) -> None:
        self.woken.append(topic)

    def empty(self, topic: Topic) -> None:
        self.emptied.append(topic)


def made() -> tuple[Topic, Owner]:
    """A topic with one notification, and its owner."""
    owner = Owner()
    log = History(10)
    log.append("before", NOW)
    return Topic("main", log, owner.stats, wake=owner.wake, on_empty=owner.empty), owner


def member(topic: Topic) -> Subscriber:
    """Somebody who has joined."""
    subscriber = EventStream(30, 0)
    topic.subscribe(subscriber)
    return subscriber


def test_who_joins_stands_at_the_head() -> None:
    topic, owner = made()
    assert member(topic).cursor == 1
    assert owner.woken == []


def test_joining_keeps_its_order() -> None:
    topic, _ = made()
    members = [member(topic) for _ in range(20)]
    assert list(topic.subscribers) == members


def test_who_lagged_is_visited_again_only_if_something_is_there_for_it() -> None:
    topic, owner = made()
    subscriber = member(topic)
    topic.on_writable(subscriber)
    assert (list(topic.pending), owner.woken) == ([], [])
    topic.history.append("new", NOW)
    topic.on_writable(subscriber)
    assert (list(topic.pending), owner.woken) == ([subscriber], [topic])


def test_leaving_may_come_twice() -> None:
    topic, owner = made()
    subscriber, other = member(topic), member(topic)
    topic.unsubscribe(subscriber)
    topic.unsubscribe(subscriber)
    assert list(topic.subscribers) == [other]
    assert topic.stats.connections.total() == 1
    assert owner.emptied == []
    topic.unsubscribe(other)
    assert topic.stats.connections.total() == 0
    assert owner.emptied == [topic]
