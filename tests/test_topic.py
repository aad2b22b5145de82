"""Who is sent what: joining, lagging and leaving a topic."""

from aionotify.counts import Counts
from aionotify.log import Log
from aionotify.subscriber import Subscriber
from aionotify.topic import Topic
from aionotify.wire import TEXT

NOW = 1_763_884_800.0


class Owner:
    """Keeps a list of what it hears."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.woken: list[Topic] = []
        self.here: list[Subscriber] = []

    def wake(self, topic: Topic) -> None:
        self.woken.append(topic)

    def joined(self, topic: Topic, subscriber: Subscriber) -> None:
        self.here.append(subscriber)

    def left(self, topic: Topic, subscriber: Subscriber) -> None:
        self.here.remove(subscriber)


def made() -> tuple[Topic, Owner]:
    """A topic with one notification, and its owner."""
    owner = Owner()
    log = Log(10)
    log.append("before", NOW)
    return Topic("main", log, owner), owner


def member(topic: Topic) -> Subscriber:
    """Somebody who has joined."""
    subscriber = Subscriber(TEXT, 30)
    topic.join(subscriber)
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
    topic.resumed(subscriber)
    assert (list(topic.behind), owner.woken) == ([], [])
    topic.log.append("new", NOW)
    topic.resumed(subscriber)
    assert (list(topic.behind), owner.woken) == ([subscriber], [topic])


def test_leaving_may_come_twice() -> None:
    topic, owner = made()
    subscriber, other = member(topic), member(topic)
    topic.left(subscriber)
    topic.left(subscriber)
    assert list(topic.subscribers) == owner.here == [other]
