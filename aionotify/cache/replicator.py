"""Replication of recent notifications: rounds of reading, merging and writing many topics."""

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Iterable

from aionotify.cache.format import MARKER, MAX_VALUE, PRESENCE, decode, encode, key
from aionotify.cache.memcached import Entry, Memcached, Outcome, Write
from aionotify.errors import CacheError
from aionotify.ids import IdSource
from aionotify.stats import Histogram
from aionotify.topic import Topic

logger = logging.getLogger(__name__)

MAX_KEYS = 64
"""Topics that are read and written in one round."""

MAX_ROUND = 1024 * 1024
"""Bytes that the values of one round had when they were last seen, unless it is only one."""

PRESENCE_TTL = 10
"""Seconds after which a server that does not check memcached anymore counts as gone."""

NOTICE_DELAY = 2.0
"""Seconds for which a server may be there, or still be there, without being noticed."""

MERGE_ATTEMPTS = 20
"""Conflicts in a row after which a memcached is given up: it may be lying."""


class Replica:
    """The copy of a topic's recent notifications in memcached."""

    __slots__ = (
        "conflicts",
        "first_unsaved",
        "max_bytes",
        "read",
        "read_at",
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
        """The id of the first notification that no round has taken up yet, or 0."""
        self.waiters: list[asyncio.Future[None]] = []
        """Publishers that wait until they are stored."""
        self.read: asyncio.Future[None] | None = None
        """The read that was asked for and not made yet, shared by all that wait for it."""
        self.stored_hash = 0
        """Of the value as it was last read or written: what has not changed is not decoded."""
        self.size = 0
        """Bytes of that value."""
        self.max_bytes = MAX_VALUE
        """Bytes of a value that this memcached takes; less after a refusal."""
        self.conflicts = 0
        """Conflicts in a row: another server writes the same topic."""
        self.warned = False
        """Whether the log has a warning for this topic."""


class Replicator:
    """Brings topics and their values in memcached together, many at a time.

    Each round reads the values of all topics that have something new or are asked for, merges
    them into the histories, and writes back those that have something new: two round trips,
    however many topics and notifications there are. A round works on its own copy of the state,
    so that whatever is published meanwhile is part of the next one.
    """

    def __init__(self, limit: int, ttl: int, ids: IdSource) -> None:
        """Store the newest `limit` notifications of each topic for `ttl` seconds."""
        self.write_seconds = Histogram()
        """How long it took to merge and store the topics of one round."""
        self._limit = limit
        self._ttl = ttl
        self._ids = ids
        self._replicas: dict[str, Replica] = {}
        self._dirty: dict[str, Replica] = {}
        self._reads: dict[str, Replica] = {}
        self._name = secrets.token_hex(8).encode()
        self._started_at = time.time()
        self._present = False
        self._other_seen_at = 0.0

    @property
    def pending(self) -> bool:
        """Whether there is anything to read or to write."""
        return bool(self._dirty or self._reads)

    @property
    def unsaved(self) -> int:
        """The number of topics with notifications that are not stored."""
        return len(self._dirty)

    @property
    def uncertain_before(self) -> int:
        """The id before which another server may have published without our notice, or 0."""
        seen_at = self._other_seen_at and self._other_seen_at + NOTICE_DELAY
        return int(min(seen_at, time.time()) * 1_000_000)

    def mark(self, topic: Topic, id: int) -> None:
        """Note that `topic` has a new notification with this id."""
        replica = self._replicas.get(topic.name) or self._create(topic)
        if not replica.first_unsaved:
            replica.first_unsaved = id
            self._dirty[topic.name] = replica

    def mark_all(self) -> None:
        """Note that a memcached has nothing of what is known here."""
        for name, replica in self._replicas.items():
            replica.stored_hash = replica.conflicts = 0
            replica.max_bytes = MAX_VALUE
            replica.first_unsaved = replica.first_unsaved or replica.topic.history.last_id
            self._dirty[name] = replica

    def wait_stored(self, name: str) -> "asyncio.Future[None] | None":
        """Return a future for when all that was marked in topic `name` is stored, or released.

        None if nothing is unsaved.
        """
        replica = self._dirty.get(name)
        if replica is None:
            return None
        stored = asyncio.get_running_loop().create_future()
        replica.waiters.append(stored)
        return stored

    def wait_read(self, topic: Topic) -> "asyncio.Future[None]":
        """Return a future for when the value of `topic` was read and merged, or released."""
        replica = self._replicas.get(topic.name) or self._create(topic)
        if replica.read is None:
            replica.read = asyncio.get_running_loop().create_future()
            self._reads[topic.name] = replica
        return replica.read

    def forget(self, name: str) -> None:
        """Drop everything about topic `name`: it has no notifications anymore."""
        self._dirty.pop(name, None)
        self._reads.pop(name, None)
        replica = self._replicas.pop(name, None)
        if replica is not None:
            self._release(replica)

    def release(self) -> None:
        """Release all that wait: memcached is lost."""
        for replica in [*self._dirty.values(), *self._reads.values()]:
            self._release(replica)
        self._reads.clear()

    def _create(self, topic: Topic) -> Replica:
        replica = self._replicas[topic.name] = Replica(topic, self._started_at)
        return replica

    async def drain(self, memcached: Memcached) -> None:
        """Run rounds until nothing is left. Raises CacheError."""
        while self.pending:
            await self.round(memcached)

    async def check(self, memcached: Memcached) -> None:
        """Check that memcached answers, remove a clean-shutdown marker, notice other servers.

        Another server on this memcached leaves a marker when it stops. It must not stay: the next
        server would take it for a promise about the topics that are published to here.
        """
        entries = await memcached.get([MARKER, PRESENCE])
        if MARKER in entries:
            await memcached.delete(MARKER)
        last = entries.get(PRESENCE)
        if self._present and last is not None and last.value != self._name:
            self._other_seen_at = time.time()
        await memcached.set(PRESENCE, self._name, PRESENCE_TTL)
        self._present = True  # the first name that was found may be that of a server that crashed

    async def round(self, memcached: Memcached) -> None:
        """Read and write as many topics as fit. Raises CacheError; then all remains to be done."""
        jobs = self._take()
        started = time.monotonic()
        try:
            entries = await memcached.get([MARKER, *(job.key for job in jobs)])
            if MARKER in entries:
                await memcached.delete(MARKER)
            for job in jobs:
                self._learn(job, entries.get(job.key))
            await self._write(memcached, [job for job in jobs if job.first_unsaved])
        except (CacheError, asyncio.CancelledError):
            for job in jobs:
                self._put_back(job)
            raise
        if any(job.first_unsaved for job in jobs):
            self.write_seconds.observe(time.monotonic() - started)

    def _take(self) -> "list[_Job]":
        """Choose the topics of a round: those that are read, then those longest unsaved."""
        chosen: dict[str, Replica] = {}
        size = 0
        for name, replica in itertools.chain(self._reads.items(), self._dirty.items()):
            if name not in chosen:
                size += replica.size
                if len(chosen) == MAX_KEYS or (chosen and size > MAX_ROUND):
                    break
                chosen[name] = replica
        jobs = []
        for name, replica in chosen.items():
            self._dirty.pop(name, None)
            jobs.append(_Job(name, replica, replica.first_unsaved, replica.waiters))
            replica.first_unsaved, replica.waiters = 0, []
        return jobs

    def _learn(self, job: "_Job", entry: Entry | None) -> None:
        """Merge a stored value into the history, and release the readers."""
        replica = job.replica
        self._notice_absence(replica)
        if entry is not None:
            job.cas, replica.size = entry.cas, len(entry.value)
            digest = hash(entry.value)
            if digest != replica.stored_hash:
                replica.stored_hash = digest
                self._decode(job, entry.value)
        if replica.read is not None:
            self._reads.pop(job.name, None)
            _resolve(replica.read)
            replica.read = None

    def _notice_absence(self, replica: Replica) -> None:
        """Take into account what another server may have published and lost since the last read.

        What it published more than `ttl` ago has expired in memcached.
        """
        now = time.time()
        expired = now - self._ttl
        if replica.read_at < expired and replica.read_at <= self._other_seen_at:
            replica.topic.history.lose_before(int(expired * 1_000_000))
        replica.read_at = now

    def _decode(self, job: "_Job", value: bytes) -> None:
        now = time.time()
        try:
            stored = decode(value, job.name, now)
        except ValueError as error:
            if not job.replica.warned:
                job.replica.warned = True
                logger.warning(
                    "%s in memcached holds no recent notifications (%s): ignoring it",
                    job.key.decode(),
                    error,
                )
            return
        oldest = (now - self._ttl) * 1000
        fresh = [each for each in stored.recents if each.notification.time > oldest]
        expired = (each.notification.id for each in stored.recents if each not in fresh)
        history = job.replica.topic.history
        history.learn(fresh, self._limit, max([stored.complete_since, *expired]))
        if fresh:
            newest = max(each.rank for each in fresh)
            self._ids.advance(newest + 1)
            if newest > now * 1_000_000:
                # Another server's clock is ahead of ours, or ours was set back since a crash: then
                # its last notifications may be lost, although their ids are yet to come.
                history.lose_before(newest + 1)
            if 0 < job.first_unsaved <= newest and newest > now * 1_000_000:
                # The other server's clock is ahead of ours. By their ids, our notifications would
                # be the older ones, and an acknowledged one could be missing from the recent ones.
                history.outrank(newest, job.first_unsaved - 1)

    async def _write(self, memcached: Memcached, jobs: "list[_Job]") -> None:
        oldest = (time.time() - self._ttl) * 1000
        writes = []
        for job in jobs:
            history = job.replica.topic.history
            recents = history.recent(self._limit, oldest)
            value, job.count = encode(
                recents, history.complete_before(recents), job.replica.max_bytes
            )
            writes.append(Write(job.key, value, self._ttl, job.cas))
        outcomes = await memcached.store(writes) if writes else []
        for job, write, outcome in zip(jobs, writes, outcomes, strict=True):
            self._settle(job, write, outcome)

    def _settle(self, job: "_Job", write: Write, outcome: Outcome) -> None:
        """Note the outcome of a write."""
        replica = job.replica
        if outcome.stored:
            replica.stored_hash, replica.size = hash(write.value), len(write.value)
            replica.conflicts = 0
            job.finish()
        elif outcome.refusal:
            self._on_refused(job, write, outcome.refusal)
        else:
            replica.conflicts += 1
            if replica.conflicts > MERGE_ATTEMPTS:
                raise CacheError(f"{write.key.decode()} changed {MERGE_ATTEMPTS} times in a row")
            self._put_back(job)

    def _on_refused(self, job: "_Job", write: Write, reason: str) -> None:
        """Try again with half the size; give up when a single notification is too large.

        This is the problem of one topic: everything else is stored, and memcached remains in use.
        """
        replica = job.replica
        if not replica.warned:
            replica.warned = True
            logger.warning(
                "memcached refused %d bytes of recent notifications of topic %s (%s): "
                "storing as many as it accepts",
                len(write.value),
                job.name,
                reason,
            )
        if job.count > 1:
            replica.max_bytes = len(write.value) // 2
            self._put_back(job)
        else:
            replica.max_bytes = MAX_VALUE
            job.finish()

    def _put_back(self, job: "_Job") -> None:
        """Leave a job to a later round."""
        replica = job.replica
        if not job.first_unsaved or job.done:
            return
        if self._replicas.get(job.name) is not replica:  # its topic was discarded meanwhile
            job.finish()
            return
        replica.first_unsaved = job.first_unsaved
        replica.waiters = job.waiters + replica.waiters
        self._dirty[job.name] = replica

    def _release(self, replica: Replica) -> None:
        _resolve_all(replica.waiters)
        replica.waiters = []
        if replica.read is not None:
            _resolve(replica.read)
            replica.read = None


class _Job:
    """A topic's share of one round."""

    __slots__ = ("cas", "count", "done", "first_unsaved", "key", "name", "replica", "waiters")

    def __init__(
        self,
        name: str,
        replica: Replica,
        first_unsaved: int,
        waiters: "list[asyncio.Future[None]]",
    ) -> None:
        self.name = name
        self.key = key(name)
        self.replica = replica
        self.first_unsaved = first_unsaved
        """Of those that this round stores; 0 if it only reads."""
        self.waiters = waiters
        self.cas: int | None = None
        self.count = 0
        """Notifications in the value that is written."""
        self.done = False

    def finish(self) -> None:
        """Release the publishers that wait."""
        self.done = True
        _resolve_all(self.waiters)


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _resolve_all(futures: "Iterable[asyncio.Future[None]]") -> None:
    for each in futures:
        _resolve(each)
