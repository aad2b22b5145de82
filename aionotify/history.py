"""The notifications that a topic retains in this process."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import attrgetter

from aionotify.budget import ENTRY_OVERHEAD, Budget
from aionotify.ids import IdSource
from aionotify.notification import Notification
from aionotify.recents import Recent, by_rank, in_place, total_size

MAX_BYTES = 16 * 1024 * 1024
"""Bytes that one history retains at most, whatever the number of notifications."""

COMPACT_AFTER = 512
"""Dropped entries that may stay in front of a list before it is compacted."""

_GONE = Notification(0, 0, "")
_id = attrgetter("id")


class History:
    """The notifications of one topic, oldest first, bounded by count, bytes and age.

    A *position* counts every notification that was ever appended: `first` is the position of the
    oldest one retained, and `head` is the position that the next one will get.
    The history has no clock; callers pass the time, so that tests can turn it by hand.

    `complete_since` is the id after which nothing is missing here. It rises when notifications are
    evicted or expire, and when another server turns out to have published some.

    Beside its own entries, a history knows a few *foreign* ones: recent notifications that another
    server has stored, which cannot be put between the entries because subscribers may have passed
    that position.
    """

    __slots__ = (
        "_budget",
        "_bytes",
        "_dropped",
        "_entries",
        "_foreign",
        "_horizon",
        "_limit",
        "_max_bytes",
        "_ranks",
        "_sizes",
        "_start",
        "complete_since",
        "first",
        "head",
        "total_bytes",
    )

    def __init__(
        self,
        limit: int,
        max_bytes: int = MAX_BYTES,
        *,
        complete_since: int = 0,
        budget: Budget | None = None,
        horizon: IdSource | None = None,
    ) -> None:
        """Start empty; `budget` has the bytes of all histories, `horizon` the last id of all."""
        self._horizon = horizon
        self.first = 0
        self.head = 0
        """The position that the next notification will get."""
        self.complete_since = complete_since
        self.total_bytes = 0
        """Bytes of all notifications ever appended, retained or not."""
        self._limit = limit
        self._max_bytes = max_bytes
        self._budget = budget or Budget(max_bytes)
        # Entries before `_start` are dropped already. Deleting from the front of a list moves all
        # the others: with a million retained, 0.3 ms per publish.
        self._entries: list[Notification] = []
        self._sizes: list[int] = []
        self._start = 0
        self._bytes = 0
        self._dropped = False
        self._foreign: list[Recent] = []
        self._ranks: dict[int, int] = {}

    def __len__(self) -> int:
        """Return the number of retained entries, without foreign ones."""
        return len(self._entries) - self._start

    @property
    def empty(self) -> bool:
        """Whether nothing is retained, not even a foreign notification."""
        return not self._foreign and len(self._entries) == self._start

    @property
    def last_id(self) -> int:
        """The id that stands for "everything so far": clients at the head resume with it."""
        if len(self._entries) == self._start:
            return self.complete_since
        return max(self.complete_since, self._entries[-1].id)

    @property
    def oldest_id(self) -> int:
        """The id of the oldest retained entry. The history must not be empty."""
        return self._entries[self._start].id

    def backlogged(self, position: int, total_bytes: int) -> bool:
        """Return whether half of the history was published after `position`.

        `total_bytes` is the value that the attribute had at `position`.
        Publishing more could evict notifications that subscribers there have not received yet.
        """
        return (
            self.head - position >= max(1, self._limit // 2)
            or self.total_bytes - total_bytes >= self._max_bytes // 2
        )

    def append(self, notification: Notification, size: int) -> None:
        """Retain a new notification of `size` bytes, with an id above all others here."""
        self._entries.append(notification)
        self._sizes.append(size)
        self.head += 1
        self._bytes += size
        self._budget.used += size + ENTRY_OVERHEAD
        self.total_bytes += size
        if self._bytes > self._max_bytes or len(self._entries) - self._start > self._limit:
            self._evict()

    def after(self, id: int) -> tuple[int, bool]:
        """Return the position after notification `id`, and whether the history is complete there.

        It is not if `id` is older than the history, unknown, or from the future.
        """
        index = bisect_right(self._entries, id, self._start, key=_id)
        known = index > self._start and self._entries[index - 1].id == id
        if self._horizon is not None:
            known = id <= self._horizon.last
        complete = id == self.complete_since or (known and id > self.complete_since)
        return self.first + index - self._start, complete

    def between(self, cursor: int, max_bytes: int, end: int | None = None) -> list[Notification]:
        """Return notifications from `cursor` on, limited to `max_bytes`, but at least one.

        Stops before position `end`. Raises LookupError if `cursor` is no longer retained.
        """
        start = cursor - self.first + self._start
        if start < self._start:
            raise LookupError(f"position {cursor} is no longer retained")
        last = self.head if end is None else min(self.head, end)
        last += self._start - self.first
        stop, total = start, 0
        while stop < last:
            total += self._sizes[stop]
            if total > max_bytes and stop > start:
                break
            stop += 1
        return self._entries[start:stop]

    def recent(self, count: int, oldest: float) -> list[Recent]:
        """Return the newest `count` notifications published after `oldest` (ms), oldest first.

        Includes foreign ones.
        """
        entries = self._entries[max(self._start, len(self._entries) - count) :]
        found = [Recent(self._ranks.get(each.id, each.id), each) for each in entries]
        found += self._foreign
        if self._foreign or self._ranks:
            found.sort(key=by_rank)
        return [each for each in found[-count:] if each.notification.time > oldest]

    def complete_before(self, recents: Sequence[Recent]) -> int:
        """Return the id after which `recents`, a result of `recent`, are complete."""
        own = sum(each not in self._foreign for each in recents)
        index = len(self._entries) - own - 1
        if index < self._start:
            return self.complete_since
        return max(self.complete_since, self._entries[index].id)

    def learn(self, stored: Sequence[Recent], count: int, complete_since: int) -> None:
        """Merge in the recent notifications of a topic that another process may have stored.

        `stored` is complete since the id `complete_since`, as far as its author knew. In a history
        that has never dropped anything, notifications older than its own become its oldest
        entries, so that clients can resume from them. All others are foreign: the newest `count`
        are kept, and the history is not complete before them.
        """
        for each in stored:
            self._add_fields(each.notification)
        unknown = [each for each in dict.fromkeys(stored) if not self._has(each.notification)]
        if unknown and not self._dropped:
            unknown = self._prepend(unknown, complete_since)
        if unknown:
            newest = max(each.notification.id for each in unknown)
            self.complete_since = max(self.complete_since, newest)
            self._set_foreign(sorted([*self._foreign, *unknown], key=by_rank)[-count:])
        if not self._knows(complete_since):
            # Its author has dropped or could not store a notification that was never read here.
            self.complete_since = max(self.complete_since, complete_since)

    def lose_before(self, id: int) -> None:
        """Note that notifications with ids up to `id` may be missing."""
        self.complete_since = max(self.complete_since, id)

    def outrank(self, above: int, since: int) -> int:
        """Rank the entries after the id `since` above `above`, keeping their order.

        Returns the highest rank: whatever is published next needs a higher id.
        """
        index = bisect_right(self._entries, since, self._start, key=_id)
        for each in self._entries[index:]:
            above = self._ranks[each.id] = max(above + 1, each.id)
        return above

    def expire(self, oldest: float) -> None:
        """Drop notifications published before `oldest` (ms since the epoch)."""
        entries, index = self._entries, self._start
        while index < len(entries) and entries[index].time < oldest:
            index += 1
        if index > self._start:
            self._drop(index - self._start)
        if self._foreign and any(each.notification.time < oldest for each in self._foreign):
            self._set_foreign([each for each in self._foreign if each.notification.time >= oldest])

    def evict_oldest(self) -> None:
        """Drop the oldest entry, because all histories together are too large."""
        self._drop(1)

    def _account(self, size: int, count: int) -> None:
        self._bytes += size
        self._budget.used += size + count * ENTRY_OVERHEAD

    def _index(self, notification: Notification) -> int | None:
        index = bisect_left(self._entries, notification.id, self._start, key=_id)
        return index if self._entries[index : index + 1] == [notification] else None

    def _has(self, notification: Notification) -> bool:
        foreign = any(each.notification == notification for each in self._foreign)
        return foreign or self._index(notification) is not None

    def _add_fields(self, stored: Notification) -> None:
        """Take over the fields of an entry that was read without them, see `cache.format`."""
        index = self._index(stored) if stored.fields else None
        if index is not None and not self._entries[index].fields:
            self._account(len(stored.fields), 0)
            self._entries[index], self._sizes[index] = stored, stored.size

    def _knows(self, id: int) -> bool:
        index = bisect_left(self._entries, id, self._start, key=_id)
        retained = index < len(self._entries) and self._entries[index].id == id
        return retained or any(each.notification.id == id for each in self._foreign)

    def _prepend(self, unknown: list[Recent], complete_since: int) -> list[Recent]:
        """Insert those that are older than all entries in front; return the others."""
        limit = self._entries[0].id if self._entries else None
        added = in_place(unknown, limit)
        added = added[max(0, len(added) + len(self) - self._limit) :]
        if not added:
            return unknown
        sizes = [each.size for each in added]
        self._entries[:0] = added
        self._sizes[:0] = sizes
        self.first -= len(added)
        self._account(sum(sizes), len(sizes))
        newest = added[-1].id
        if self.complete_since <= newest:
            # Complete after the newest of them: then they are complete as far as their author
            # knew. Otherwise, something between them and `self.complete_since` may be missing.
            self.complete_since = complete_since if self.complete_since == newest else newest
        chosen = {*added}
        return [each for each in unknown if each.notification not in chosen]

    def _set_foreign(self, foreign: list[Recent]) -> None:
        added = total_size(foreign) - total_size(self._foreign)
        self._account(added, len(foreign) - len(self._foreign))
        self._foreign = foreign

    def _evict(self) -> None:
        while len(self) > self._limit or (self._bytes > self._max_bytes and len(self) > 1):
            self._drop(1)

    def _drop(self, count: int) -> None:
        entries, sizes = self._entries, self._sizes
        # A loop, because almost always one entry is dropped for one that was appended.
        for index in range(self._start, self._start + count):
            id, size = entries[index].id, sizes[index]
            self._account(-size, -1)
            if id > self.complete_since:
                self.complete_since = id
            if self._ranks:
                self._ranks.pop(id, None)
            # Its place stays for a while, but not the entry: it may be large.
            entries[index] = _GONE
        self._dropped = True
        self.first += count
        self._start += count
        if self._start > COMPACT_AFTER and self._start * 2 > len(entries):
            del entries[: self._start]
            del sizes[: self._start]
            self._start = 0
