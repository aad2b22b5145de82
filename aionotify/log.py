"""What a topic retains in this process."""

from bisect import bisect_right
from collections.abc import Iterable

from aionotify.notification import MAIN, Notification

MAX_BYTES = 16 * 1024 * 1024
"""How many bytes of UTF-8 one log retains at most, whatever the number of notifications."""


class Log:
    """The notifications of one topic, oldest first, bounded by count, bytes and age.

    A *position* counts everything that was ever appended: `first` is the position of the oldest
    retained notification and `head` the one that the next will get. The log has no clock:
    whoever calls passes the time.

    `floor` is the id of the newest notification that it does not have, or may not have: nothing
    that was published after it is missing here.
    """

    __slots__ = (
        *("_bytes", "_entries", "_last_id", "_limit", "_max_bytes", "_sizes", "_topic"),
        *("first", "floor", "volume"),
    )

    def __init__(
        self, limit: int, max_bytes: int = MAX_BYTES, *, floor: int = 0, topic: str = MAIN
    ) -> None:
        self.first = 0
        self.floor = floor
        self.volume = 0
        """How many bytes of messages were ever appended."""
        self._topic = topic
        self._limit = limit
        self._max_bytes = max_bytes
        self._entries: list[Notification] = []
        self._sizes: list[int] = []
        self._bytes = 0
        self._last_id = floor

    def __len__(self) -> int:
        """How many notifications are retained."""
        return len(self._entries)

    @property
    def head(self) -> int:
        """The position that the next notification will get."""
        return self.first + len(self._entries)

    def crowded(self, position: int, volume: int) -> bool:
        """Whether what came since then is half of what can be retained.

        Who publishes on, without waiting for those who stand there, may take it away from them.
        """
        return (
            self.head - position >= max(1, self._limit // 2)
            or self.volume - volume >= self._max_bytes // 2
        )

    def append(self, message: str, now: float, after: int = 0) -> Notification:
        """Retain `message` as a new notification, published at `now` (seconds since the epoch).

        Its id is the time in microseconds, or one more than the last id and than `after` where
        the time is not above them: ids increase even when the clock steps back, and stay within
        the 53 bits of a JavaScript number until the year 2255.
        """
        id = max(int(now * 1_000_000), self._last_id + 1, after + 1)
        notification = Notification(id, int(now * 1000), message, self._topic)
        self._retain(notification)
        self._evict()
        return notification

    def seed(self, notifications: Iterable[Notification]) -> None:
        """Start with what an earlier process left; only while the log is empty.

        New ids go on from the newest of them. It says nothing about what may be missing between
        them: that is what `floor` is for.
        """
        if self._entries:
            raise ValueError("only an empty log can be seeded")
        for notification in sorted(notifications, key=lambda each: each.id):
            self._retain(notification)
        self._evict()

    def after(self, id: int) -> tuple[int, bool]:
        """The position that follows the notification `id`, and whether nothing is missing there.

        Something may be missing where `id` is older than what is retained, unknown here, or
        from the future.
        """
        index = bisect_right(self._entries, id, key=lambda each: each.id)
        known = index > 0 and self._entries[index - 1].id == id
        return self.first + index, id == self.floor or (known and id > self.floor)

    def between(self, cursor: int, max_bytes: int, until: int | None = None) -> list[Notification]:
        """What stands from position `cursor` on, up to `max_bytes` of messages, but one at least.

        Nothing from position `until` on. Raises LookupError when `cursor` is no longer retained.
        """
        start = cursor - self.first
        if start < 0:
            raise LookupError(f"position {cursor} is no longer retained")
        last = len(self._entries) if until is None else min(len(self._entries), until - self.first)
        end, total = start, 0
        while end < last:
            total += self._sizes[end]
            if total > max_bytes and end > start:
                break
            end += 1
        return self._entries[start:end]

    def expire(self, oldest: float) -> None:
        """Drop what was published before `oldest` (seconds since the epoch)."""
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
        self.volume += size
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
            self.floor = max(self.floor, self._entries[count - 1].id)
            self._bytes -= sum(self._sizes[:count])
            del self._entries[:count]
            del self._sizes[:count]
            self.first += count
