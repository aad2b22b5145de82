"""What a topic retains in this process."""

from bisect import bisect_right
from collections.abc import Iterable

from aionotify.notification import MAIN, Notification

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of UTF-8 text that one history retains at most, whatever the number of notifications."""


class History:
    """The notifications of one topic, oldest first, bounded by count, bytes and age.

    A *position* counts every notification that was ever appended: `first` is the position of the
    oldest one retained, and `head` is the position that the next one will get.
    The history has no clock; callers pass the time, so that tests can turn it by hand.

    `complete_since` is the id after which nothing is missing here: it rises when notifications
    are evicted or expire.
    """

    __slots__ = (
        "_bytes",
        "_entries",
        "_last_id",
        "_limit",
        "_max_bytes",
        "_sizes",
        "_topic",
        "complete_since",
        "first",
        "total_bytes",
    )

    def __init__(
        self,
        limit: int,
        max_bytes: int = MAX_BYTES,
        *,
        complete_since: int = 0,
        topic: str = MAIN,
    ) -> None:
        self.first = 0
        self.complete_since = complete_since
        self.total_bytes = 0
        """Bytes of all messages ever appended, retained or not."""
        self._topic = topic
        self._limit = limit
        self._max_bytes = max_bytes
        self._entries: list[Notification] = []
        self._sizes: list[int] = []
        self._bytes = 0
        self._last_id = complete_since

    def __len__(self) -> int:
        """Return the number of retained notifications."""
        return len(self._entries)

    @property
    def head(self) -> int:
        """The position that the next notification will get."""
        return self.first + len(self._entries)

    def backlogged(self, position: int, total_bytes: int) -> bool:
        """Return whether half of the history was published after `position`.

        `total_bytes` is the value that the attribute had at `position`.
        Publishing more could evict notifications that subscribers there have not received yet.
        """
        return (
            self.head - position >= max(1, self._limit // 2)
            or self.total_bytes - total_bytes >= self._max_bytes // 2
        )

    def append(self, message: str, now: float, after: int = 0) -> Notification:
        """Retain `message` as a new notification, published at `now` (seconds since the epoch).

        Its id is the time in microseconds, or one more than the last id or `after` if that is
        higher. So ids increase even when the clock steps back, and fit into the 53 bits of a
        JavaScript number until the year 2255.
        """
        id = max(int(now * 1_000_000), self._last_id + 1, after + 1)
        notification = Notification(id, int(now * 1000), message, self._topic)
        self._retain(notification)
        self._evict()
        return notification

    def seed(self, notifications: Iterable[Notification]) -> None:
        """Fill an empty history with notifications that an earlier process published.

        New ids continue after the newest of them. Seeding says nothing about notifications
        missing between them; `complete_since` does. Raises ValueError if the history is not empty.
        """
        if self._entries:
            raise ValueError("only an empty history can be seeded")
        for notification in sorted(notifications, key=lambda each: each.id):
            self._retain(notification)
        self._evict()

    def after(self, id: int) -> tuple[int, bool]:
        """Return the position after notification `id`, and whether the history is complete there.

        It is not if `id` is older than the history, unknown, or from the future.
        """
        index = bisect_right(self._entries, id, key=lambda each: each.id)
        known = index > 0 and self._entries[index - 1].id == id
        complete = id == self.complete_since or (known and id > self.complete_since)
        return self.first + index, complete

    def between(self, cursor: int, max_bytes: int, end: int | None = None) -> list[Notification]:
        """Return notifications from `cursor` on, limited to `max_bytes` of text, but at least one.

        Stops before position `end`. Raises LookupError if `cursor` is no longer retained.
        """
        start = cursor - self.first
        if start < 0:
            raise LookupError(f"position {cursor} is no longer retained")
        last = len(self._entries) if end is None else min(len(self._entries), end - self.first)
        stop, total = start, 0
        while stop < last:
            total += self._sizes[stop]
            if total > max_bytes and stop > start:
                break
            stop += 1
        return self._entries[start:stop]

    def expire(self, oldest: float) -> None:
        """Drop notifications published before `oldest` (seconds since the epoch)."""
        limit = oldest * 1000
        count = 0
        while count < len(self._entries) and self._entries[count].time < limit:
            count += 1
        self._drop(count)

    def _retain(self, notification: Notification) -> None:
        size = len(notification.message.encode())
        self._entries.append(notification)
        self._sizes.append(size)
        self._bytes += size
        self.total_bytes += size
        self._last_id = max(self._last_id, notification.id)

    def _evict(self) -> None:
        count = max(0, len(self._entries) - self._limit)
        kept = self._bytes - sum(self._sizes[:count])
        while kept > self._max_bytes and count < len(self._entries) - 1:
            kept -= self._sizes[count]
            count += 1
        self._drop(count)

    def _drop(self, count: int) -> None:
        if count:
            self.complete_since = max(self.complete_since, self._entries[count - 1].id)
            self._bytes -= sum(self._sizes[:count])
            del self._entries[:count]
            del self._sizes[:count]
            self.first += count
