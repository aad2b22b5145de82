"""Recent notifications: their order over several servers, and a fixed list of them. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aionotify.notification import Notification


class Recent(NamedTuple):
    """A recent notification, and its rank among those of the topic.

    The rank is the id, unless another server with a clock ahead of ours has stored higher ids:
    then it is what makes a notification that was published later the newer one.
    """

    rank: int
    notification: Notification


def by_rank(recent: Recent) -> tuple[int, str]:
    """Return a sort key: the rank, and the text if two servers published within a microsecond."""
    return recent.rank, recent.notification.message


def total_size(recents: Iterable[Recent]) -> int:
    """Return the bytes of `recents`."""
    return sum(each.notification.size for each in recents)


def in_place(recents: Sequence[Recent], limit: int | None) -> list[Notification]:
    """Return those with ids below `limit`, in order, that can be inserted into a history."""
    # By id, each only once: two servers can issue the same id within one microsecond. An entry
    # must stand where its rank says, so one whose rank differs from its id stays outside.
    found = {
        each.rank: each.notification
        for each in reversed(recents)
        if each.rank == each.notification.id and (limit is None or each.rank < limit)
    }
    return [found[rank] for rank in sorted(found)]


class Snapshot:
    """A fixed list of notifications at positions that end before `end`.

    Stands in for a history where a client is shown recent notifications: some of them may be
    foreign, and none of them may be evicted while a slow client still has to read them.
    """

    __slots__ = ("_notifications", "first")

    def __init__(self, notifications: Sequence[Notification], end: int) -> None:
        self._notifications = notifications
        self.first = end - len(notifications)

    def between(self, cursor: int, max_bytes: int, end: int | None = None) -> list[Notification]:
        """Return notifications from `cursor` on, limited to `max_bytes`, but at least one.

        `end` is ignored: nothing was ever appended.
        """
        batch: list[Notification] = []
        total = 0
        for each in self._notifications[cursor - self.first :]:
            total += each.size
            if total > max_bytes and batch:
                break
            batch.append(each)
        return batch
