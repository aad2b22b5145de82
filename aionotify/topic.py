"""A name that clients subscribe to, with what it retains and who listens."""

from collections import deque
from typing import Protocol

from aionotify.counts import Counts
from aionotify.log import Log
from aionotify.subscriber import Subscriber
from aionotify.wire import MAX_BATCH, Replay


class Owner(Protocol):
    """Who keeps topics, and wants to know what happens in them."""

    @property
    def counts(self) -> Counts:
        """Where to count it."""

    def wake(self, topic: "Topic") -> None:
        """Somebody in `behind` can be written to."""

    def joined(self, topic: "Topic", subscriber: Subscriber) -> None:
        """There is one subscriber more."""

    def left(self, topic: "Topic", subscriber: Subscriber) -> None:
        """There is one subscriber less."""


class Topic:
    """A log and its subscribers.

    `subscribers` is a dict for its order of joining: a set iterates in hash order, which misses
    the processor's caches. `behind` are those that the fan-out has yet to visit, `swept` the
    position up to which everybody has been put there, and `volume` the bytes up to that.
    `unswept_since` is when the first was published that no sweep is after yet, `swept_since` the
    same for the sweep that goes on.
    """

    __slots__ = (
        "_owner",
        "behind",
        "counts",
        "log",
        "name",
        "subscribers",
        "swept",
        "swept_since",
        "unswept_since",
        "volume",
    )

    def __init__(self, name: str, log: Log, owner: Owner) -> None:
        self.name = name
        self.log = log
        self.subscribers: dict[Subscriber, None] = {}
        self.behind: deque[Subscriber] = deque()
        self.swept = log.head
        self.volume = log.volume
        self.unswept_since: float | None = None
        self.swept_since: float | None = None
        self.counts = owner.counts
        self._owner = owner

    def join(self, subscriber: Subscriber) -> None:
        """From here on `subscriber` is sent everything that is published."""
        subscriber.audience = self
        subscriber.cursor = self.log.head
        self.subscribers[subscriber] = None
        self._owner.joined(self, subscriber)

    def resume(self, subscriber: Subscriber, since: int, head: bytes) -> None:
        """Join, and send `head` and everything that is retained after the id `since`.

        A gap comes first if anything may be missing there. What does not fit into one write
        follows as the transport drains, as for everybody who lags.
        """
        self.join(subscriber)
        cursor, complete = self.log.after(since)
        batch = self.log.between(cursor, MAX_BATCH)
        encoding = subscriber.encoding
        gap = b"" if complete else encoding.gap(None) or b""
        self.counts.gaps += not complete
        self.counts.delivered += len(batch)
        subscriber.write(head + gap + encoding.recents(batch), cursor + len(batch))
        if subscriber.cursor < self.log.head:
            subscriber.encoding = Replay(encoding, self.log.head)
            self.resumed(subscriber)

    def resumed(self, subscriber: Subscriber) -> None:
        """`subscriber` lagged, and can be written to again."""
        if subscriber.cursor < self.log.head:
            self.behind.append(subscriber)
            self._owner.wake(self)

    def catch_up(self, subscriber: Subscriber) -> None:
        """Write what `subscriber` is behind, ahead of the sweep, as far as it can be written to."""
        while subscriber.ready and self.log.first <= subscriber.cursor < self.log.head:
            encoding = subscriber.encoding = subscriber.encoding.at(subscriber.cursor)
            batch = self.log.between(subscriber.cursor, MAX_BATCH, encoding.until)
            end = subscriber.cursor + len(batch)
            self.counts.delivered += len(batch)
            subscriber.write(encoding.notifications(batch), end)

    @property
    def crowded(self) -> bool:
        """Whether the fan-out is so far behind that it should be waited for."""
        return self.log.crowded(self.swept, self.volume)

    def left(self, subscriber: Subscriber) -> None:
        """`subscriber` is to be sent nothing more. May come twice."""
        if subscriber in self.subscribers:
            del self.subscribers[subscriber]
            self._owner.left(self, subscriber)
