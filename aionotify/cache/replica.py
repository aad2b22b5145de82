"""The copy of one topic in memcached: what is left to do, and a round's share of that."""

import asyncio
from collections.abc import Iterable

from aionotify.cache.format import MAX_VALUE, key
from aionotify.topic import Topic


class Replica:
    """The copy of a topic's recent notifications in memcached.

    What a round has taken up is in `job`; everything else here is left to a later one.
    """

    __slots__ = (
        "conflicts",
        "first_unsaved",
        "job",
        "max_bytes",
        "newest",
        "read",
        "read_at",
        "refused",
        "refused_at",
        "size",
        "stored_hash",
        "topic",
        "waiters",
        "warned",
    )

    def __init__(self, topic: Topic, read_at: float) -> None:
        self.topic = topic
        self.read_at = read_at
        """When the value was last read, or could first have been (seconds since the epoch)."""
        self.first_unsaved = 0
        """Notifications from this id on are new since the last round; 0 if there are none."""
        self.waiters: list[asyncio.Future[bool]] = []
        """Publishers that wait until they are stored."""
        self.read: asyncio.Future[bool] | None = None
        """The read that was asked for and not started yet, shared by all that wait for it."""
        self.job: Job | None = None
        """This topic's share of the round under way."""
        self.stored_hash: int | None = None
        """Of the value as it was last read or written: what has not changed is not decoded."""
        self.newest = 0
        """The highest rank in the value as it was last decoded."""
        self.size: int | None = None
        """Bytes of the value, or None if it was never read."""
        self.max_bytes = MAX_VALUE
        """Bytes of a value that this memcached takes; less after a refusal."""
        self.refused: frozenset[int] = frozenset()
        """Ids of notifications that it refused although nothing else was in the value."""
        self.refused_at = 0.0
        """When it last refused something (monotonic time)."""
        self.conflicts = 0
        """Conflicts in a row: another server writes the same topic."""
        self.warned = False
        """Whether the log has a warning for this topic."""

    def wait_stored(self) -> "asyncio.Future[bool] | None":
        """Return a future for when all that is unsaved is stored; None if nothing is."""
        unfinished = self.job is not None and self.job.first_unsaved and not self.job.done
        if not self.first_unsaved and not unfinished:
            return None
        stored = asyncio.get_running_loop().create_future()
        # What is unsaved now includes what the round under way does not have.
        waiters = self.waiters if self.first_unsaved or self.job is None else self.job.waiters
        waiters.append(stored)
        return stored

    def take(self) -> "Job":
        """Hand everything that is left to do to a round."""
        job = self.job = Job(self)
        self.first_unsaved, self.waiters, self.read = 0, [], None
        return job

    def put_back(self, job: "Job") -> None:
        """Leave what `job` has not stored to a later round."""
        self.first_unsaved = job.first_unsaved
        self.waiters = job.waiters + self.waiters
        job.first_unsaved, job.waiters = 0, []
        if self.job is job:
            self.job = None

    def release(self) -> None:
        """Release all that wait, although nothing was read or stored."""
        release(self.waiters, False)
        self.waiters = []
        if self.read is not None:
            release([self.read], False)
            self.read = None

    def forget_refusals(self) -> None:
        """Try everything again: memory was freed, or it is another memcached."""
        self.max_bytes, self.refused = MAX_VALUE, frozenset()


class Job:
    """A topic's share of one round."""

    __slots__ = (
        "cas",
        "count",
        "done",
        "first_unsaved",
        "key",
        "newest_id",
        "read",
        "replica",
        "waiters",
    )

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.key = key(replica.topic.name)
        self.first_unsaved = replica.first_unsaved
        """Of the notifications that this round stores; 0 if it only reads."""
        self.waiters = replica.waiters
        self.read = replica.read
        self.cas: int | None = None
        self.count = self.newest_id = 0
        """The number of notifications in the value that is written, and the id of the newest."""
        self.done = False

    def finish_read(self, success: bool) -> None:
        """Release the readers."""
        if self.read is not None:
            release([self.read], success)
            self.read = None

    def finish(self) -> None:
        """Release the publishers that wait."""
        self.done = True
        if self.replica.job is self:
            self.replica.job = None
        release(self.waiters, True)


def release(futures: "Iterable[asyncio.Future[bool]]", success: bool) -> None:
    """Resolve the `futures` that were not cancelled."""
    for each in futures:
        if not each.done():
            each.set_result(success)
