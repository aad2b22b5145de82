"""Topics and their subscribers: the sets in the application state."""

import asyncio
import heapq
import time
from collections.abc import Callable, Iterator, Sequence

from aionotify.budget import Budget
from aionotify.errors import Stopping, TooManyRequests, Unavailable
from aionotify.fanout import Fanout
from aionotify.history import History
from aionotify.ids import ForgottenTopics, IdSource
from aionotify.merged import MergedTopics
from aionotify.notification import Notification
from aionotify.stats import ClientKind, DisconnectReason, RejectReason, Stats
from aionotify.subscriber import State, Subscriber
from aionotify.topic import Topic
from aionotify.yielding import yielding

CLOSE_INTERVAL = 0.001
"""Seconds between closing two clients at shutdown, unless the grace period demands more speed."""

HISTORY_BYTES = 256 * 1024 * 1024
"""Bytes that all histories retain together, unless a setting says otherwise."""

EXPIRE_INTERVAL = 5.0
"""Seconds between two rounds of dropping expired notifications."""


class Hub:
    """All topics that have subscribers or a history, and all connected clients."""

    def __init__(
        self,
        history_limit: int,
        ttl: float,
        max_connections: int,
        history_bytes: int = HISTORY_BYTES,
    ) -> None:
        """Create an empty hub.

        Topics retain `history_limit` notifications for `ttl` seconds, and all of them together
        `history_bytes`.
        """
        self._history_limit = history_limit
        self._ttl = ttl
        self._topics: dict[str, Topic] = {}
        self._fanout = Fanout()
        self._budget = Budget(history_bytes)
        self._by_age: list[tuple[int, str]] = []
        # Bound methods are made anew at each access; all topics share these.
        self._wake = self._fanout.wake
        self._wake_replay = self._fanout.wake_replay
        self._on_empty = self.discard_if_empty
        self._closing = False
        self._hurried = False
        self.max_connections = max_connections
        """The number of clients above which further ones are rejected."""
        self.forgotten = ForgottenTopics(0)
        """The last ids of topics that are not in the hub."""
        self.horizon: IdSource | None = None
        """The last id of all topics, if every id up to it is known: then any is a position."""
        self.on_discard: Callable[[str], None] = lambda name: None
        """Called with the name of a topic that was discarded."""
        self.stats = Stats()

    @property
    def connected(self) -> int:
        """The number of connected clients."""
        return self.stats.connections.total()

    @property
    def full(self) -> bool:
        """Whether the connection limit is reached."""
        return self.connected >= self.max_connections

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
        return sum(each.state is State.LAGGING for each in self.subscribers())

    def get_topic(self, name: str) -> Topic | None:
        """Return the topic `name`, or None. Drops expired notifications first."""
        topic = self._topics.get(name)
        if topic is not None:
            topic.history.expire(self.oldest())
        return topic

    def create_topic(self, name: str) -> Topic:
        """Create a topic that does not exist, complete since its remembered id."""
        history = History(
            self._history_limit,
            complete_since=self.forgotten.recall(name),
            budget=self._budget,
            horizon=self.horizon,
        )
        topic = Topic(
            name,
            history,
            self.stats,
            wake=self._wake,
            on_empty=self._on_empty,
            active=self._fanout.active,
        )
        self._topics[name] = topic
        return topic

    def merge(self, topics: Sequence[Topic]) -> MergedTopics:
        """Return a subscription to several topics of this hub, for one client."""
        return MergedTopics(topics, self._wake_replay)

    def discard_if_empty(self, topic: Topic) -> None:
        """Delete `topic` if it has no subscribers and no history; remember its last id."""
        empty = not topic.subscribers and topic.history.empty
        if empty and self._topics.get(topic.name) is topic:
            del self._topics[topic.name]
            self.forgotten.remember(topic.name, topic.history.last_id)
            self.on_discard(topic.name)

    def publish(self, topic: Topic, notification: Notification, size: int) -> None:
        """Append `notification`, with `size` bytes of text, to its topic; wake the fan-out."""
        topic.history.append(notification, size)
        self.stats.published += 1
        if topic.first_unsent_at is None:
            topic.first_unsent_at = time.monotonic()
        if self._budget.used > self._budget.limit:
            self._evict()
        self._wake(topic)

    def behind(self, topic: Topic) -> Topic | None:
        """Return the topic that has to be delivered before more is published to `topic`, if any.

        Publishing more could evict notifications that its subscribers were not sent yet.
        """
        if topic.backlogged:
            return topic
        return self._evict() if self._budget.used > self._budget.limit else None

    def oldest(self) -> float:
        """Return the time, in ms since the epoch, before which notifications have expired."""
        return (time.time() - self._ttl) * 1000

    def last_ids(self) -> dict[str, int]:
        """Return the last id of each topic, forgotten ones first."""
        ids = self.forgotten.snapshot()
        for name, topic in self._topics.items():
            if topic.history.last_id > self.forgotten.before:
                ids[name] = topic.history.last_id
        return ids

    def lose(self, id: int) -> None:
        """Have all subscribers told that notifications up to `id` may be missing."""
        self.forgotten.restore(id, {})
        for topic in self._topics.values():
            self.lose_topic(topic, id)

    def lose_before(self, id: int) -> None:
        """Note that notifications up to `id` may be missing in any topic; tell no subscriber."""
        self.forgotten.restore(id, {})
        for topic in self._topics.values():
            topic.history.lose_before(id)

    def lose_topic(self, topic: Topic, id: int) -> None:
        """Drop a history, and have each subscriber told of a gap of unknown size up to `id`."""
        history = topic.history
        while history:
            history.evict_oldest()
        # A position for the missing ones: no subscriber has got that far.
        history.first += 1
        history.head += 1
        # Not the maximum of both: if an older copy of the stream came back, ids restart there.
        history.complete_since = id
        topic.uncounted_before = history.first
        self._wake(topic)

    def _evict(self) -> Topic | None:
        """Drop the oldest notifications over all topics until the budget is met.

        Stops at one that the fan-out has yet to deliver, and returns its topic.
        """
        # A heap of the topics by the id of their oldest entry, which may have changed since: then
        # the topic goes back to its new place. Ids increase over all topics, so topics that came
        # later are younger than all in the heap, and it is built anew only when it is empty.
        while self._budget.used > self._budget.limit:
            if not self._by_age:
                filled = (each for each in self._topics.values() if each.history)
                self._by_age = [(each.history.oldest_id, each.name) for each in filled]
                heapq.heapify(self._by_age)
                if not self._by_age:
                    return None
            id, name = self._by_age[0]
            topic = self._topics.get(name)
            if topic is None or not topic.history:
                heapq.heappop(self._by_age)
                continue
            if topic.history.oldest_id == id:
                if topic.oldest_is_unsent:
                    return topic
                topic.history.evict_oldest()
            if topic.history:
                heapq.heapreplace(self._by_age, (topic.history.oldest_id, name))
        return None

    def open(self) -> None:
        """Accept clients and notifications, also after a shutdown."""
        self._closing = False

    def ensure_accepting(self) -> None:
        """Raise Stopping after a shutdown."""
        if self._closing:
            raise Stopping

    def ensure_capacity(self, address: str | None) -> None:
        """Raise Unavailable or TooManyRequests if no client from `address` can be accepted now."""
        self.ensure_accepting()
        if self.full:
            raise Unavailable(
                "Too many clients are connected. Please try again later.", RejectReason.TOO_MANY
            )
        if self.stats.addresses.is_full(address):
            raise TooManyRequests(
                "Too many clients are connected from your address. Close some of them, or try "
                "again later.",
                RejectReason.TOO_MANY_PER_ADDRESS,
            )

    def subscribers(self) -> Iterator[Subscriber]:
        """Iterate over a snapshot of all subscribers, skipping those that disconnect meanwhile."""
        for topic in list(self._topics.values()):
            for follower in list(topic.subscribers):
                client = follower.client
                if client is not None and follower in topic.subscribers:
                    yield client

    async def heartbeat(self, interval: float) -> None:
        """Ping all subscribers every `interval` seconds, forever."""
        while True:
            await asyncio.sleep(interval)
            await self._ping_all(interval)

    async def _ping_all(self, interval: float) -> None:
        # Apart, so that no variable keeps the last client alive until the next heartbeat.
        async for subscriber in yielding(self.subscribers()):
            subscriber.ping(interval)

    async def expire_loop(self) -> None:
        """Drop expired notifications and the topics that become empty, forever."""
        while True:
            await asyncio.sleep(min(EXPIRE_INTERVAL, self._ttl / 4))
            await self.expire()

    async def expire(self) -> None:
        """Drop expired notifications and the topics that become empty."""
        oldest = self.oldest()
        async for topic in yielding(list(self._topics.values())):
            topic.history.expire(oldest)
            self.discard_if_empty(topic)

    def hurry(self) -> None:
        """End the grace period of a shutdown, now or as soon as it begins."""
        self._hurried = True

    async def shutdown(self, grace: float) -> None:
        """Close all clients with 1012, and disconnect those left after `grace` seconds.

        Closing is paced, so that thousands of clients do not reconnect in the same millisecond.
        It takes half of the grace period at most: the last client needs time to answer, too.
        After `hurry` it waits for no client anymore.
        """
        self._closing = True
        clients = list(self.subscribers())
        started = time.monotonic()
        interval = min(CLOSE_INTERVAL, grace / 2 / max(1, len(clients)))
        for number, client in enumerate(clients):
            # The grace period decides, and not the time that an answer may take otherwise.
            client.close_for_restart(grace + 1)
            if not self._hurried:
                await asyncio.sleep(max(0, started + number * interval - time.monotonic()))
        # An event to wait for would cost memory for each client, idle or not.
        while not self._hurried and time.monotonic() < started + grace:
            if not any(each.connected for each in clients):
                break
            await asyncio.sleep(0.01)
        for client in clients:
            if client.connected:
                message = "no answer to the close frame within the shutdown grace period"
                client.disconnect(message, DisconnectReason.CLOSING)
        self._hurried = False
