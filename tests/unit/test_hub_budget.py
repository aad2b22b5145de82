"""The bound over all topics: publishers wait where it would evict what was not sent yet."""

from aionotify.budget import ENTRY_OVERHEAD
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.notification import Notification
from aionotify.topic import Topic
from tests.support.builders import NOW, join
from tests.support.loop import HandLoop

MESSAGE = "x" * 1000


class Publisher:
    """Publishes to a hub that retains two messages."""

    def __init__(self) -> None:
        self.hub = Hub(1000, 3600, 10, history_bytes=2 * (len(MESSAGE) + ENTRY_OVERHEAD))
        self._ids = IdSource()

    def publish(self, topic: Topic) -> None:
        """Publish without waiting."""
        notification = Notification(self._ids.next(NOW), int(NOW * 1000), MESSAGE, topic.name)
        self.hub.publish(topic, notification, len(MESSAGE))


def test_unsent_notification_is_not_evicted(loop: HandLoop) -> None:
    """One publisher may exceed the bound; the next one waits for the topic that fills it."""
    publisher = Publisher()
    hub = publisher.hub
    one, other = hub.create_topic("one"), hub.create_topic("other")
    client = join(one)
    publisher.publish(one)
    publisher.publish(other)
    assert hub.behind(other) is None
    publisher.publish(other)
    assert hub.behind(other) is one
    assert len(one.history) == 1
    loop.settle()
    assert hub.behind(other) is None
    assert len(one.history) == 0
    assert client.take().count(b"[Notification] ") == 1


def test_topic_without_subscribers_is_not_waited_for(loop: HandLoop) -> None:
    publisher = Publisher()
    one = publisher.hub.create_topic("one")
    for _ in range(5):
        publisher.publish(one)
        assert publisher.hub.behind(one) is None
    assert len(one.history) == 2


def test_backlogged_topic_is_waited_for(loop: HandLoop) -> None:
    hub = Hub(2, 3600, 10)
    publisher = Publisher()
    publisher.hub = hub
    one, other = hub.create_topic("one"), hub.create_topic("other")
    join(one)
    publisher.publish(one)
    assert (hub.behind(one), hub.behind(other)) == (one, None)
    loop.settle()
    assert hub.behind(one) is None
