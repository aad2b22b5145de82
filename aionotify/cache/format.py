"""The recents of one topic, and the value that stands for them in memcached. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from aionotify.notification import Notification

MAX_VALUE = 1_000_000
"""Bytes: memcached refuses more than a mebibyte, unless told otherwise."""

MAX_AHEAD = 24 * 3600
"""Seconds by which another server's clock may be ahead; ids go on from what is stored."""


@dataclass(slots=True)
class Recents:
    """The newest notifications of a topic, oldest first.

    `floor` is the id of the newest that is not among them any more. `sealed` says that whoever
    stored them ended cleanly: nothing that came after `floor` is missing.
    """

    notifications: list[Notification] = field(default_factory=list)
    complete_since: int = 0
    clean_shutdown: bool = False

    def add(self, newest: Notification, limit: int) -> None:
        """Keep one that was just published."""
        known = self.notifications
        if known and newest.id <= known[-1].id:
            self.learn([newest], limit, 0)
            return
        known.append(newest)
        if len(known) > limit:
            self.complete_since = max(self.complete_since, known.pop(0).id)

    def expire(self, oldest: float) -> None:
        """Drop what is not younger than `oldest` (ms)."""
        for each in self.notifications:
            if each.time <= oldest:
                self.learn((), len(self.notifications), oldest)
                return

    def learn(self, others: Iterable[Notification], limit: int, oldest: float) -> None:
        """Keep the newest `limit` of these and `others` that are younger than `oldest` (ms)."""
        union = {*self.notifications, *others}
        fresh = sorted((each for each in union if each.time > oldest), key=_order)
        self.notifications = fresh[-limit:]
        dropped = union.difference(self.notifications)
        self.complete_since = max(self.complete_since, *(each.id for each in dropped), 0)


def encode(recents: Recents, *, clean_shutdown: bool) -> bytes:
    """As many of the newest as memcached takes in one value, but one at least."""
    entries: list[bytes] = []
    floor, size = recents.complete_since, 0
    for each in reversed(recents.notifications):
        entry = {"id": each.id, "time": each.time, "message": each.message}
        encoded = json.dumps(entry, ensure_ascii=False).encode()
        size += len(encoded) + 1
        if entries and size > MAX_VALUE - len(_VALUE) - 20:
            floor = max(floor, each.id)
            break
        entries.append(encoded)
    flag = b"true" if clean_shutdown else b"false"
    return _VALUE % (floor, flag, b",".join(reversed(entries)))


_VALUE = b'{"floor":%d,"sealed":%b,"notifications":[%b]}'


def decode(value: bytes, topic: str, now: float) -> Recents:
    """What `encode` wrote, for `topic`, at `now` (seconds). Raises ValueError for anything else."""
    try:
        document = json.loads(value)
        floor, sealed = document.get("floor", 0), document.get("sealed", False)
        latest = int((now + MAX_AHEAD) * 1000)
        if type(floor) is not int or type(sealed) is not bool or not 0 <= floor < latest * 1000:
            raise ValueError("a floor or a seal that is none")
        entries = document["notifications"]
        notifications = [_notification(entry, topic, latest) for entry in entries]
        return Recents(notifications, floor, sealed)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not in our format: {error!r}") from error


def _notification(entry: dict[str, object], topic: str, latest: int) -> Notification:
    id, published, message = entry["id"], entry["time"], entry["message"]
    if type(id) is not int or type(published) is not int or type(message) is not str:
        raise TypeError("an entry of other types")
    if not (0 < id < latest * 1000 and 0 < published < latest):
        raise ValueError("an id or a time out of range")
    message.encode()  # a lone surrogate is no text
    return Notification(id, published, message, topic)


def _order(notification: Notification) -> tuple[int, str]:
    """By id; where two servers have published in one microsecond, the same order on both."""
    return notification.id, notification.message
