"""Ids: their source, and what is remembered of topics that are no longer in memory. Pure."""

from collections.abc import Mapping
from operator import itemgetter

MAX_FORGOTTEN = 50_000
"""Topics whose last id is remembered after the topic itself was discarded: about 8 MiB."""


class IdSource:
    """Issues ids that are unique and increasing over all topics of a process.

    An id is the time in microseconds, or one more than the last id if that is higher. So ids
    increase even when the clock steps back, and fit into the 53 bits of a JavaScript number until
    the year 2255.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0
        """The highest id that was issued or seen."""

    def next(self, now: float) -> int:
        """Issue an id at time `now` (seconds since the epoch)."""
        self.last = max(int(now * 1_000_000), self.last + 1)
        return self.last

    def advance(self, id: int) -> None:
        """Continue above `id`, which another process has issued."""
        self.last = max(self.last, id)


class ForgottenTopics:
    """From which id on a topic that is not in memory is known to be complete.

    A topic is discarded once its last notification has expired, but a client may still resume
    from there: forgetting the last id would turn that into a false gap, and assuming one would
    hide a true gap. At most `limit` ids are kept, the oldest go first.

    `before` is what holds for all other topics: the highest id that may be missing there.
    """

    __slots__ = ("_ids", "_limit", "before")

    def __init__(self, before: int, limit: int = MAX_FORGOTTEN) -> None:
        self.before = before
        self._ids: dict[str, int] = {}
        self._limit = limit

    def __len__(self) -> int:
        """Return the number of topics whose last id is remembered."""
        return len(self._ids)

    def remember(self, topic: str, complete_since: int) -> None:
        """Note that `topic` was discarded; nothing after the id `complete_since` is missing."""
        if complete_since <= self.before:
            return
        self._ids.pop(topic, None)  # so that the dict is in order of discarding
        self._ids[topic] = complete_since
        if len(self._ids) > self._limit:
            oldest = next(iter(self._ids))
            self.before = max(self.before, self._ids.pop(oldest))

    def recall(self, topic: str) -> int:
        """Return the id after which nothing of `topic` is missing, and drop its entry."""
        return max(self._ids.pop(topic, 0), self.before)

    def restore(self, before: int, ids: Mapping[str, int]) -> None:
        """Replace everything by the knowledge of a process that stopped cleanly."""
        self.before = before
        self._ids = {}
        # The lowest first: what does not fit must not raise `before` above that of all others.
        for topic, complete_since in sorted(ids.items(), key=itemgetter(1)):
            self.remember(topic, complete_since)

    def snapshot(self) -> dict[str, int]:
        """Return the remembered ids by topic, in order of discarding."""
        return dict(self._ids)
