"""Topics and their subscribers: what the application state holds."""

import asyncio
import time
from collections.abc import Iterable, Iterator

from aionotify.errors import Unavailable
from aionotify.fanout import Fanout
from aionotify.history import History
from aionotify.notification import Notification
from aionotify.stats import ClientKind, DisconnectReason, RejectReason, Stats
from aionotify.subscriber import State, Subscriber
from aionotify.topic import Topic
from aionotify.yielding import yielding

CLOSE_INTERVAL = 0.001
"""Seconds between closing two clients at shutdown, unless the grace period demands more speed."""

EXPIRE_INTERVAL = 5.0
"""Seconds between two rounds of dropping expired notifications."""


class Hub:
    """All topics that have subscribers or a history, and all connected clients."""

    def __init__(self, history_limit: int, ttl: float, max_connections: int) -> None:
        """Create an empty hub; topics retain `history_limit` notifications for `ttl` seconds."""
        self._history_limit = history_limit
        self._ttl = ttl
        self._max_connections = max_connections
        self._topics: dict[str, Topic] = {}
        self._fanout = Fanout()
        # Bound methods are made anew at each access; all topics share these two.
        self._wake = self._fanout.wake
        self._on_empty = self.discard_if_empty
        self._closing = False
        self.stats = Stats()

    @property
    def connected(self) -> int:
        """The number of connected clients."""
        return self.stats.connections.total()

    @property
    def websockets(self) -> int:
        """The number of clients that are connected over WebSocket."""
        return self.connected - self.stats.connections[ClientKind.EVENTS]

    @property
    def topics(self) -> int:
        """The number of topics."""
        return len(self._topics)

    @property
    def lagging(self) -> int:
        """The number of clients whose transport still holds data."""
        topics = self._topics.values()
        return sum(each.state is State.LAGGING for topic in topics for each in topic.subscribers)

    def get_topic(self, name: str) -> Topic | None:
        """Return the topic `name`, or None. Drops expired notifications first."""
        topic = self._topics.get(name)
        if topic is not None:
            topic.history.expire(time.time() - self._ttl)
        return topic

    def create_topic(
        self, name: str, complete_since: int, retained: Iterable[Notification]
    ) -> Topic:
        """Create a topic that does not exist, with notifications of an earlier process.

        Nothing published after the id `complete_since` is missing among them.
        """
        history = History(self._history_limit, complete_since=complete_since, topic=name)
        history.seed(retained)
        topic = Topic(name, history, self.stats, wake=self._wake, on_empty=self._on_empty)
        self._topics[name] = topic
        return topic

    def discard_if_empty(self, topic: Topic) -> None:
        """Delete `topic` if it has no subscribers and no history."""
        empty = not topic.subscribers and not topic.history
        if empty and self._topics.get(topic.name) is topic:
            del self._topics[topic.name]

    def publish(self, topic: Topic, message: str, after: int) -> Notification:
        """Append to the history of `topic`, with an id above `after`, and wake the fan-out."""
        notification = topic.history.append(message, time.time(), after)
        self.stats.published += 1
        if topic.first_unsent_at is None:
            topic.first_unsent_at = time.monotonic()
        self._wake(topic)
        return notification

    def complete_since(self) -> dict[str, int]:
        """Return for each topic the id after which its history is complete."""
        return {name: topic.history.complete_since for name, topic in self._topics.items()}

    def ensure_accepting(self) -> None:
        """Raise Unavailable if the server is stopping."""
        if self._closing:
            raise Unavailable(
                "The server is stopping. Please try again later.", RejectReason.STOPPING
            )

    def ensure_capacity(self) -> None:
        """Raise Unavailable if the server is stopping or the connection limit is reached."""
        self.ensure_accepting()
        if self.connected >= self._max_connections:
            raise Unavailable(
                "Too many clients are connected. Please try again later.", RejectReason.TOO_MANY
            )

    def subscribers(self) -> Iterator[Subscriber]:
        """Iterate over a snapshot of all subscribers, skipping those that disconnect meanwhile."""
        for topic in list(self._topics.values()):
            for subscriber in list(topic.subscribers):
                if subscriber in topic.subscribers:
                    yield subscriber

    async def heartbeat(self, interval: float) -> None:
        """Ping all subscribers every `interval` seconds, forever."""
        while True:
            await asyncio.sleep(interval)
            async for subscriber in yielding(self.subscribers()):
                subscriber.ping(interval)

    async def expire_loop(self) -> None:
        """Drop expired notifications and the topics that become empty, forever."""
        while True:
            await asyncio.sleep(min(EXPIRE_INTERVAL, self._ttl / 4))
            oldest = time.time() - self._ttl
            async for topic in yielding(list(self._topics.values())):
                topic.history.expire(oldest)
                self.discard_if_empty(topic)

    async def shutdown(self, grace: float) -> None:
        """Close all clients with 1012, and disconnect those left after `grace` seconds.

        Closing is paced, so that thousands of clients do not reconnect in the same millisecond.
        It takes half of the grace period at most: the last client needs time to answer, too.
        """
        self._closing = True
        clients = list(self.subscribers())
        started = time.monotonic()
        interval = min(CLOSE_INTERVAL, grace / 2 / max(1, len(clients)))
        for number, client in enumerate(clients):
            client.close_for_restart()
            await asyncio.sleep(max(0, started + number * interval - time.monotonic()))
        # An event to wait for would cost memory for each client, idle or not.
        while time.monotonic() < started + grace and any(  # noqa: ASYNC110
            each.connected for each in clients
        ):
            await asyncio.sleep(0.01)
        for client in clients:
            if client.connected:
                message = "no answer to the close frame within the shutdown grace period"
                client.disconnect(message, DisconnectReason.CLOSING)
