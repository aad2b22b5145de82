"""Topics and their sets of subscribers: what the application's state holds."""

import asyncio
import time
from collections.abc import Iterable, Iterator

from aionotify.counts import Cause, Counts, Kind, Refusal
from aionotify.errors import Unavailable
from aionotify.fanout import Fanout
from aionotify.log import Log
from aionotify.notification import Notification
from aionotify.subscriber import Subscriber
from aionotify.topic import Topic

PACE = 0.001
"""Seconds between two closings at the end, unless the grace asks for more haste."""

AT_ONCE = 100
"""Clients that are pinged before the event loop goes on to others."""

TIDY = 5.0
"""Seconds between two rounds of dropping what has expired."""


class Hub:
    """Every topic that somebody listens to or that retains something, and who listens."""

    def __init__(self, log_limit: int, ttl: float, max_connections: int) -> None:
        """`log_limit` notifications are retained for each topic, for `ttl` seconds."""
        self._log_limit = log_limit
        self._ttl = ttl
        self._topics: dict[str, Topic] = {}
        self._fanout = Fanout()
        self._max_connections = max_connections
        self._closing = False
        self.counts = Counts()

    @property
    def connected(self) -> int:
        """How many clients listen, over all topics."""
        return self.counts.connections.total()

    @property
    def websockets(self) -> int:
        """How many of them do so over a WebSocket."""
        return self.connected - self.counts.connections[Kind.EVENTS]

    def find(self, name: str) -> Topic | None:
        """The topic of that name, if somebody listens to it or it retains something."""
        topic = self._topics.get(name)
        if topic is not None:
            topic.log.expire(time.time() - self._ttl)
        return topic

    def open(self, name: str, floor: int, retained: Iterable[Notification]) -> Topic:
        """Make a topic that is not there, with the notifications that an earlier process left.

        None that was published after the id `floor` is missing among them.
        """
        log = Log(self._log_limit, floor=floor, topic=name)
        log.seed(retained)
        topic = self._topics[name] = Topic(name, log, self)
        return topic

    def publish(self, topic: Topic, message: str, after: int) -> Notification:
        """Append to the log of `topic`, with an id above `after`; the fan-out does the rest."""
        notification = topic.log.append(message, time.time(), after)
        self.counts.published += 1
        if topic.unswept_since is None:
            topic.unswept_since = time.monotonic()
        self._fanout.wake(topic)
        return notification

    def floors(self) -> dict[str, int]:
        """For each topic, the id after which nothing is missing in its log."""
        return {name: topic.log.floor for name, topic in self._topics.items()}

    @property
    def topics(self) -> int:
        """How many there are."""
        return len(self._topics)

    @property
    def lagging(self) -> int:
        """How many clients are behind because their transport is full."""
        topics = self._topics.values()
        return sum(not each.ready for topic in topics for each in topic.subscribers)

    def check_open(self) -> None:
        """Raise Unavailable where nothing more is published, since the server stops."""
        if self._closing:
            raise Unavailable("The server is stopping. Try again in a while.", Refusal.STOPPING)

    def check_room(self) -> None:
        """Raise Unavailable where nobody more may join."""
        self.check_open()
        if self.connected >= self._max_connections:
            raise Unavailable(
                "Too many clients are connected. Try again in a while.", Refusal.TOO_MANY
            )

    def wake(self, topic: Topic) -> None:
        """Somebody in `topic` is behind."""
        self._fanout.wake(topic)

    def joined(self, topic: Topic, subscriber: Subscriber) -> None:
        """Count who came."""
        self.counts.connections[subscriber.encoding.kind] += 1

    def left(self, topic: Topic, subscriber: Subscriber) -> None:
        """Count who went; a topic that is of no use to anybody is forgotten."""
        self.counts.connections[subscriber.encoding.kind] -= 1
        self.release(topic)

    def release(self, topic: Topic) -> None:
        """Forget `topic` if it is of no use to anybody: no subscriber, nothing retained."""
        if not topic.subscribers and not topic.log and self._topics.get(topic.name) is topic:
            del self._topics[topic.name]

    def subscribers(self) -> Iterator[Subscriber]:
        """Everybody who is connected, as of now; but nobody who has left before its turn comes."""
        for topic in list(self._topics.values()):
            for subscriber in list(topic.subscribers):
                if subscriber in topic.subscribers:
                    yield subscriber

    async def heartbeat(self, interval: float) -> None:
        """A pulse to everybody every `interval` seconds, for ever."""
        while True:
            await asyncio.sleep(interval)
            for number, subscriber in enumerate(self.subscribers(), 1):
                subscriber.pulse(interval)
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def tidy(self) -> None:
        """Drop what has expired, and the topics of which nothing is left, for ever."""
        while True:
            await asyncio.sleep(min(TIDY, self._ttl / 4))
            oldest = time.time() - self._ttl
            for number, topic in enumerate(list(self._topics.values()), 1):
                topic.log.expire(oldest)
                self.release(topic)
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def close(self, grace: float) -> None:
        """Close everybody with 1012, one after another, and cut off who is left after `grace` s.

        Spread out, so that thousands do not reconnect in the same millisecond.
        """
        self._closing = True
        leaving = list(self.subscribers())
        deadline = time.monotonic() + grace
        pace = min(PACE, grace / 2 / max(1, len(leaving)))
        started = time.monotonic()
        for number, subscriber in enumerate(leaving):
            subscriber.restart()
            await asyncio.sleep(max(0, started + number * pace - time.monotonic()))
        # An event to wait for would be memory for each client, idle or not.
        while time.monotonic() < deadline and any(  # noqa: ASYNC110
            each.connected for each in leaving
        ):
            await asyncio.sleep(0.01)
        for subscriber in leaving:
            if subscriber.connected:
                subscriber.cut_off(
                    "it did not answer the close frame within the shutdown grace", Cause.CLOSING
                )
