"""A topic: its history and its subscribers."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from aionotify.encoders import MAX_BATCH, Encoder, ReplayEncoder
from aionotify.history import History
from aionotify.notification import Notification
from aionotify.recents import Snapshot
from aionotify.stats import Stats
from aionotify.subscriber import WRITE_ERRORS, Follower, State, Subscriber, disconnect_broken

MAX_CACHED_BATCHES = 16
"""Encoded batches kept during one slice: a mebibyte at most."""


_NOBODY: deque[Any] = deque(maxlen=0)
"""Stands in for an empty queue, which would take 760 bytes. Nothing fits into it."""


class Topic:
    """A history and the subscribers that follow it."""

    __slots__ = (
        "_delivered",
        "_on_empty",
        "_wake",
        "active",
        "delivered_bytes",
        "delivered_head",
        "first_unsent_at",
        "history",
        "name",
        "pass_bytes",
        "pass_head",
        "pass_started_at",
        "pending",
        "replaying",
        "stats",
        "subscribers",
        "uncounted_before",
    )

    def __init__(
        self,
        name: str,
        history: History,
        stats: Stats,
        *,
        wake: Callable[["Topic"], None],
        on_empty: Callable[["Topic"], None],
        active: Collection["Topic"] = (),
    ) -> None:
        """Start without subscribers.

        `wake` schedules the fan-out for a topic; `on_empty` is called when the last subscriber
        has left. `active` are the topics with news, see `Fanout`.
        """
        self.name = name
        self.history = history
        self.stats = stats
        # A dict keeps the order of subscribing. A set iterates in hash order, which costs a cache
        # miss for each subscriber.
        self.subscribers: dict[Follower, None] = {}
        self.pending: deque[Follower] = _NOBODY
        """Subscribers that the current pass of the fan-out has yet to visit."""
        self.replaying: deque[Subscriber] = _NOBODY
        """Subscribers that are further behind, in the order in which they are served."""
        self.pass_head = self.delivered_head = history.head
        """The head of the history when the last pass started, and the last finished one."""
        self.pass_bytes = self.delivered_bytes = history.total_bytes
        """The history's `total_bytes` at these positions."""
        self.pass_started_at: float | None = None
        """Monotonic time of the first publish that this pass delivers, or None if measured."""
        self.first_unsent_at: float | None = None
        """Monotonic time of the first publish that no pass has started for."""
        self._delivered: asyncio.Future[None] | None = None
        self.uncounted_before = history.first
        """The position before which it is not known how many notifications are missing."""
        self.active = active
        self._wake = wake
        self._on_empty = on_empty

    @property
    def names(self) -> tuple[str, ...]:
        """Its name alone."""
        return (self.name,)

    @property
    def backlogged(self) -> bool:
        """Whether the fan-out is so far behind that publishers should wait."""
        return self.history.backlogged(self.delivered_head, self.delivered_bytes)

    @property
    def oldest_is_unsent(self) -> bool:
        """Whether the fan-out has yet to deliver the oldest notification in the history."""
        return bool(self.subscribers) and self.delivered_head <= self.history.first

    async def wait_delivered(self) -> None:
        """Wait until the current pass of the fan-out is finished."""
        if self._delivered is None:
            self._delivered = asyncio.get_running_loop().create_future()
        # Shielded: the future is shared, and one publisher that gives up must not cancel it.
        await asyncio.shield(self._delivered)

    def start_pass(self) -> bool:
        """Queue all subscribers if something was published since the last pass; return whether."""
        head = self.history.head
        if self.pass_head == head:
            return False
        self.pass_head, self.pass_bytes = head, self.history.total_bytes
        self.pass_started_at, self.first_unsent_at = self.first_unsent_at, None
        self.pending = deque(self.subscribers)
        return True

    def finish_pass(self) -> None:
        """Note that all subscribers are up to date, and release the publishers that waited."""
        self.pending = _NOBODY
        self.delivered_head, self.delivered_bytes = self.pass_head, self.pass_bytes
        if self._delivered is not None:
            self._delivered.set_result(None)
            self._delivered = None

    def add(self, follower: Follower) -> None:
        """Deliver everything to `follower` that is published from now on."""
        follower.cursor = self.history.head
        self.subscribers[follower] = None

    def remove(self, follower: Follower) -> bool:
        """Stop delivery to `follower`; return whether it was a subscriber until now."""
        if follower not in self.subscribers:
            return False
        del self.subscribers[follower]
        if not self.subscribers:
            self._on_empty(self)
        return True

    def subscribe(self, subscriber: Subscriber) -> None:
        """Subscribe a client of this topic alone to everything published from now on."""
        subscriber.topic = self
        self.add(subscriber)
        self.stats.count(subscriber)

    def subscribe_recent(
        self, subscriber: Subscriber, recents: Sequence[Notification], head: bytes
    ) -> None:
        """Subscribe, and send `head` and the notifications `recents`."""
        self.subscribe(subscriber)
        snapshot = Snapshot(recents, subscriber.cursor)
        self._replay(subscriber, head, snapshot.first, source=snapshot)

    def subscribe_since(self, subscriber: Subscriber, since: int, head: bytes) -> None:
        """Subscribe, and send `head` and everything that is retained after the id `since`.

        A gap comes first if notifications may be missing.
        """
        self.subscribe(subscriber)
        cursor, complete = self.history.after(since)
        gap = b""
        if not complete:
            self.stats.gaps += 1
            gap = subscriber.encoder.gap(None, self.history.complete_since) or b""
        self._replay(subscriber, head, cursor, gap=gap)

    def _replay(
        self,
        subscriber: Subscriber,
        head: bytes,
        cursor: int,
        *,
        source: Snapshot | None = None,
        gap: bytes = b"",
    ) -> None:
        """Send `head`, and a turn of the event loop later `gap` and what follows `cursor`.

        simple-websocket and ws4py lose frames that arrive together with the head of a 101.
        """
        now, position = self.history.head, self.history.last_id
        subscriber.encoder = ReplayEncoder(
            *(subscriber.encoder, now, self.names, position, source, cursor, gap),
            expires=subscriber.expires,
        )
        subscriber.write(head, cursor)
        if subscriber.state is State.OPEN:
            # From here on nothing else writes to the client, so all that it gets is in order.
            subscriber.state = State.REPLAYING
            asyncio.get_running_loop().call_soon(self._start_replay, subscriber)

    def _start_replay(self, subscriber: Subscriber) -> None:
        if subscriber.state is State.REPLAYING:
            if self.replaying is _NOBODY:
                self.replaying = deque()
            self.replaying.append(subscriber)
            self._wake(self)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop delivery to `subscriber`. May be called more than once."""
        if self.remove(subscriber):
            self.stats.uncount(subscriber)

    @property
    def is_behind(self) -> bool:
        """Whether subscribers wait for their replay."""
        return bool(self.replaying)

    def replay(self, deadline: float) -> None:
        """Serve subscribers that are behind, one batch each in turn, until `deadline`."""
        batches = Batches(self)
        while self.replaying:
            subscriber = self.replaying.popleft()
            if subscriber.state is State.REPLAYING and self.within_history(subscriber):
                batch, end = batches.get(subscriber.encoder, subscriber.cursor)
                try:
                    self.write_next(subscriber, batch, end)
                except WRITE_ERRORS as error:
                    disconnect_broken(subscriber, error)
            if subscriber.state is State.REPLAYING:
                if subscriber.cursor < self.history.head:
                    self.replaying.append(subscriber)
                else:
                    subscriber.state = State.OPEN
            if time.monotonic() > deadline:
                break
        if not self.replaying:
            self.replaying = _NOBODY

    def within_history(self, follower: Follower) -> bool:
        """Have `follower` skip what it can no longer get; return whether it can be written to."""
        if follower.encoder.source is None and follower.cursor < self.history.first:
            first, counted = self.history.first, follower.cursor >= self.uncounted_before
            follower.skip_to(first, self.history.complete_since, counted=counted)
            # Nothing may be left to write, if all of it was lost: see `Hub.lose_topic`.
            return follower.writable and first <= follower.cursor < self.history.head
        return True

    def next_batch(self, encoder: Encoder, cursor: int) -> tuple[bytes, int]:
        """Return one write from `cursor` on, and the position after it.

        Raises LookupError if `cursor` is no longer retained.
        """
        source = encoder.source or self.history
        notifications = source.between(cursor, MAX_BATCH, encoder.end)
        batch = encoder.opening(cursor) + encoder.encode(notifications)
        end = cursor + len(notifications)
        return (batch + encoder.caught_up() if end == encoder.end else batch), end

    def on_writable(self, subscriber: Subscriber) -> None:
        """Continue delivery to `subscriber`, if it is behind; it can be written to."""
        if subscriber.cursor < self.history.head or isinstance(subscriber.encoder, ReplayEncoder):
            subscriber.state = State.REPLAYING
            self._start_replay(subscriber)

    def catch_up(self, subscriber: Subscriber) -> None:
        """Write pending notifications to `subscriber` now, as far as its socket accepts them.

        A client that resumes is left to the fan-out: it may have megabytes to catch up on.
        """
        while self._is_close_behind(subscriber):
            self.write_next(subscriber, *self.next_batch(subscriber.encoder, subscriber.cursor))
            if subscriber.encoder.source is None and subscriber.state is State.REPLAYING:
                subscriber.state = State.OPEN

    def write_next(self, subscriber: Subscriber, batch: bytes, end: int) -> None:
        """Write `batch`, and choose the encoder for position `end`, which follows it."""
        if subscriber.encoder.source is None:  # recent notifications do not count as delivered
            self.stats.delivered += end - subscriber.cursor
        subscriber.write(batch, end)
        subscriber.encoder = subscriber.encoder.at_position(end)

    def _is_close_behind(self, subscriber: Subscriber) -> bool:
        if subscriber.encoder.source is not None:
            return subscriber.state is State.REPLAYING
        first, head = self.history.first, self.history.head
        return subscriber.state is State.OPEN and first <= subscriber.cursor < head


class Batches:
    """Encoded batches of one slice, shared by the subscribers at the same position."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._encoded: dict[tuple[Encoder, int], tuple[bytes, int]] = {}

    def get(self, encoder: Encoder, cursor: int) -> tuple[bytes, int]:
        """Return the bytes to write from `cursor` on, and the position after them."""
        key = encoder, cursor
        if key not in self._encoded:
            if len(self._encoded) == MAX_CACHED_BATCHES:
                self._encoded.clear()
            self._encoded[key] = self._topic.next_batch(encoder, cursor)
        return self._encoded[key]
