"""Histories as streams in the order of ids, to be merged into one. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from aionotify.encoders import MAX_BATCH, Encoder
from aionotify.history import History
from aionotify.notification import Notification

Event = tuple[int, int, Notification | None, int]
"""An id, the index of its stream, the notification, and its bytes.

Without a notification, it marks the place of a gap or of the client's position.
"""


def is_complete(histories: Iterable[History], since: int) -> bool:
    """Return whether nothing after the id `since` is missing in any of `histories`.

    Ids are unique over all topics, so it is enough that one of them knows `since`.
    """
    known = False
    for history in histories:
        if since < history.complete_since:
            return False
        known = known or history.after(since)[1]
    return known


def following(at: int, history: History, cursor: int) -> Iterator[Event]:
    """Iterate over what follows `cursor` in one history, whose stream has the index `at`.

    The history must not change meanwhile.
    """
    if cursor < history.first:
        yield gap_place(history), at, None, 0
        cursor = history.first
    while cursor < history.head:
        # As many as one write may need: reading all of a long history for each would take longer
        # with every one of them.
        for notification in history.between(cursor, MAX_BATCH):
            yield notification.id, at, notification, notification.size
            cursor += 1


def gap_place(history: History) -> int:
    """Return the id where a gap in `history` is told: before everything that it retains."""
    if not history:
        return history.complete_since
    return min(history.complete_since, history.oldest_id - 1)


class Batch:
    """One write of a merged stream. Gaps with nothing between them become one."""

    def __init__(self, encoder: Encoder, last_recent: int) -> None:
        self.notifications = self.gaps = 0
        self._encoder = encoder
        self._last_recent = last_recent
        self._pieces: list[bytes] = []
        self._run: list[Notification] = []
        self._gap: tuple[int | None, int] | None = None

    def add(self, notification: Notification) -> None:
        """Add a notification, marked as recent up to the id `last_recent`."""
        self._end_gap()
        if self._run and self._run[-1].id <= self._last_recent < notification.id:
            self._end_run()
        self._run.append(notification)
        self.notifications += 1

    def add_gap(self, missed: int | None, id: int) -> None:
        """Add a gap of `missed` notifications, after which the stream is complete from `id`."""
        self._end_run()
        if self._gap is not None:
            before = self._gap[0]
            missed = None if missed is None or before is None else before + missed
        self._gap = missed, id

    def add_position(self, names: Sequence[str], id: int, expires: int | None) -> None:
        """Add that the client is caught up with the topics `names`, up to `id`.

        `expires` is the time at which its token expires, in seconds since the epoch.
        """
        self._end_gap()
        self._end_run()
        self._pieces.append(self._encoder.subscribed(names, id, expires))

    def finish(self) -> bytes:
        """Return the bytes to write."""
        self._end_gap()
        self._end_run()
        return b"".join(self._pieces)

    def _end_run(self) -> None:
        if self._run:
            is_recent = self._run[-1].id <= self._last_recent
            self._pieces.append(self._encoder.encode(self._run, recent=is_recent))
            self._run = []

    def _end_gap(self) -> None:
        if self._gap is not None:
            self._pieces.append(self._encoder.gap(*self._gap) or b"")
            self._gap = None
            self.gaps += 1
