"""A topic: its history and its subscribers."""

from collections import deque
from collections.abc import Callable

from aionotify.encoders import MAX_BATCH, Encoder, ReplayEncoder
from aionotify.history import History
from aionotify.stats import Stats
from aionotify.subscriber import Subscriber


class Topic:
    """A history and the subscribers that follow it."""

    __slots__ = (
        "_on_empty",
        "_wake",
        "first_unsent_at",
        "history",
        "name",
        "pass_bytes",
        "pass_head",
        "pass_started_at",
        "pending",
        "stats",
        "subscribers",
    )

    def __init__(
        self,
        name: str,
        history: History,
        stats: Stats,
        *,
        wake: Callable[["Topic"], None],
        on_empty: Callable[["Topic"], None],
    ) -> None:
        """Start without subscribers.

        `wake` schedules the fan-out for a topic; `on_empty` is called when the last subscriber
        has left.
        """
        self.name = name
        self.history = history
        self.stats = stats
        # A dict keeps the order of subscribing. A set iterates in hash order, which costs a cache
        # miss for each subscriber.
        self.subscribers: dict[Subscriber, None] = {}
        self.pending: deque[Subscriber] = deque()
        """Subscribers that the fan-out has yet to visit."""
        self.pass_head = history.head
        """The head of the history when the last pass of the fan-out started."""
        self.pass_bytes = history.total_bytes
        """The history's `total_bytes` at that position."""
        self.pass_started_at: float | None = None
        """Monotonic time of the first publish that this pass delivers, or None if measured."""
        self.first_unsent_at: float | None = None
        """Monotonic time of the first publish that no pass has started for."""
        self._wake = wake
        self._on_empty = on_empty

    @property
    def backlogged(self) -> bool:
        """Whether the fan-out is so far behind that publishers should wait."""
        return self.history.backlogged(self.pass_head, self.pass_bytes)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Deliver everything to `subscriber` that is published from now on."""
        subscriber.topic = self
        subscriber.cursor = self.history.head
        self.subscribers[subscriber] = None
        self.stats.connections[subscriber.kind] += 1

    def subscribe_since(self, subscriber: Subscriber, since: int, head: bytes) -> None:
        """Subscribe, and send `head` and everything that is retained after the id `since`.

        A gap comes first if notifications may be missing. Whatever does not fit into one write
        follows as the transport drains, as for every client that lags.
        """
        self.subscribe(subscriber)
        subscriber.cursor, complete = self.history.after(since)
        live = subscriber.encoder
        replay = ReplayEncoder(live, self.history.head)
        batch, end = self.next_batch(replay, subscriber.cursor)
        gap = b"" if complete else live.gap(None) or b""
        self.stats.gaps += not complete
        self.stats.delivered += end - subscriber.cursor
        subscriber.write(head + gap + batch, end)
        if end < self.history.head:
            subscriber.encoder = replay
            self.on_writable(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop delivery to `subscriber`. May be called more than once."""
        if subscriber in self.subscribers:
            del self.subscribers[subscriber]
            self.stats.connections[subscriber.kind] -= 1
            if not self.subscribers:
                self._on_empty(self)

    def next_batch(self, encoder: Encoder, cursor: int) -> tuple[bytes, int]:
        """Return one write from `cursor` on, and the position after it.

        Raises LookupError if `cursor` is no longer retained.
        """
        notifications = self.history.between(cursor, MAX_BATCH, encoder.end)
        return encoder.encode(notifications), cursor + len(notifications)

    def on_writable(self, subscriber: Subscriber) -> None:
        """Continue delivery to `subscriber`, which lagged and can be written to again."""
        if subscriber.cursor < self.history.head:
            self.pending.append(subscriber)
            self._wake(self)

    def catch_up(self, subscriber: Subscriber) -> None:
        """Write pending notifications to `subscriber` now, as far as its socket accepts them."""
        history = self.history
        while subscriber.writable and history.first <= subscriber.cursor < history.head:
            cursor = subscriber.cursor
            subscriber.encoder = subscriber.encoder.at_position(cursor)
            batch, end = self.next_batch(subscriber.encoder, cursor)
            self.stats.delivered += end - cursor
            subscriber.write(batch, end)
