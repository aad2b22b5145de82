"""Who is sent what: joining, lagging and leaving a topic."""

from aionotify.log import Log
from aionotify.subscriber import Subscriber
from aionotify.topic import Topic
from aionotify.wire import TEXT

NOW = 1_763_884_800.0


def made() -> tuple[Topic, list[Topic]]:
    """A topic with one notification, and a list of its wakings."""
    woken: list[Topic] = []
    log = Log(10)
    log.append("before", NOW)
    return Topic("main", log, woken.append), woken


def member(topic: Topic) -> Subscriber:
    """Somebody who has joined."""
    subscriber = Subscriber(topic, TEXT, 30)
    topic.join(subscriber)
    return subscriber


def test_who_joins_stands_at_the_head() -> None:
    topic, woken = made()
    assert member(topic).cursor == 1
    assert woken == []


def test_joining_keeps_its_order() -> None:
    topic, _ = made()
    members = [member(topic) for _ in range(20)]
    assert list(topic.subscribers) == members


def test_who_lagged_is_visited_again_only_if_something_is_there_for_it() -> None:
    topic, woken = made()
    subscriber = member(topic)
    topic.resumed(subscriber)
    assert (list(topic.behind), woken) == ([], [])
    topic.log.append("new", NOW)
    topic.resumed(subscriber)
    assert (list(topic.behind), woken) == ([subscriber], [topic])


def test_leaving_may_come_twice() -> None:
    topic, _ = made()
    subscriber, other = member(topic), member(topic)
    topic.left(subscriber)
    topic.left(subscriber)
    assert list(topic.subscribers) == [other]
