"""Small parts that unit tests are built from: a clock, a topic, its subscribers."""

from collections.abc import Callable

from aionotify.encoders import TEXT
from aionotify.fanout import Fanout
from aionotify.history import MAX_BYTES, History
from aionotify.ids import IdSource
from aionotify.notification import Notification
from aionotify.stats import Stats
from aionotify.subscriber import Subscriber
from aionotify.topic import Topic
from aionotify.websocket import WebSocketSubscriber
from tests.support.transport import FakeTransport

NOW = 1_763_884_800.0
"""The time at which unit tests begin, in seconds since the epoch: 2025-11-23T08:00:00Z."""

STALL_TIMEOUT = 30
"""The stall time-out of subscribers in tests that are not about it, in seconds."""


class Clock:
    """Replaces the `time` module of a module under test.

    The time of day is `now`, which a test may set, plus the time that `monotonic` returns.
    """

    def __init__(self, monotonic: Callable[[], float] = lambda: 0.0) -> None:
        self.monotonic = monotonic
        self.now = NOW

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return self.now + self.monotonic()


class FakeFeed:
    """Replaces the topic of a subscriber, and records the calls."""

    def __init__(self, name: str = "main") -> None:
        self.names = (name,)
        self.stats = Stats()
        self.unsubscribed: list[Subscriber] = []
        self.writable: list[Subscriber] = []

    def on_writable(self, subscriber: Subscriber) -> None:
        self.writable.append(subscriber)

    def catch_up(self, subscriber: Subscriber) -> None:
        """Do nothing: no notification was published."""

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self.unsubscribed.append(subscriber)


async def ignore(subscriber: WebSocketSubscriber, text: str) -> None:
    """Ignore a message from a client."""


def append(history: History, message: str, ids: IdSource, now: float = NOW) -> Notification:
    """Append `message`, published at `now`, with the next id; return the notification."""
    notification = Notification(ids.next(now), int(now * 1000), message)
    history.append(notification, len(message.encode()))
    return notification


def new_topic(
    limit: int = 1000,
    max_bytes: int = MAX_BYTES,
    *,
    wake: Callable[[Topic], None] = lambda topic: None,
    on_empty: Callable[[Topic], None] = lambda topic: None,
) -> Topic:
    """Return the topic `main` with an empty history."""
    return Topic("main", History(limit, max_bytes), Stats(), wake=wake, on_empty=on_empty)


def new_subscriber() -> WebSocketSubscriber:
    """Return a plain-text WebSocket client that may not publish, without a connection."""
    return WebSocketSubscriber(TEXT, STALL_TIMEOUT, admin=False, limit=100, receive=ignore)


def join(topic: Topic, room: float = float("inf")) -> FakeTransport:
    """Subscribe a plain-text WebSocket client to `topic`, and return its connection."""
    subscriber = new_subscriber()
    transport = FakeTransport(subscriber, room)
    topic.subscribe(subscriber)
    return transport


class LiveTopic:
    """A topic with a fan-out. Each message is its number, a full stop, and padding."""

    def __init__(self, limit: int = 1000, max_bytes: int = MAX_BYTES) -> None:
        self.fanout = Fanout()
        self.topic = new_topic(limit, max_bytes, wake=self.fanout.wake)
        self.stats = self.topic.stats
        self.ids: list[int] = []
        """The id of every notification published."""
        self._source = IdSource()

    def join(self, room: float = float("inf")) -> FakeTransport:
        """Subscribe a plain-text client, and return its connection."""
        return join(self.topic, room)

    def publish(self, size: int = 0) -> None:
        """Publish the next number, with `size` bytes of padding."""
        message = f"{len(self.ids)}." + "x" * size
        self.ids.append(append(self.topic.history, message, self._source).id)
        self.fanout.wake(self.topic)
