"""Replication of recent notifications: rounds of reading, merging and writing many topics."""

import asyncio
import itertools
import time
from collections.abc import Iterator

from aionotify.cache.format import MARKER
from aionotify.cache.memcached import Entry, Memcached, Outcome, Write
from aionotify.cache.merge import Merger
from aionotify.cache.replica import Job, Replica
from aionotify.errors import CacheError
from aionotify.stats import Histogram
from aionotify.topic import Topic

MAX_KEYS = 64
"""Topics that are read and written in one round."""

MAX_BULK = 256
"""The same when everything is written: 20,000 topics in 2 s, and 7 ms of computing at a time."""

MAX_ROUND = 1024 * 1024
"""Bytes of values, more or less, that are read, decoded or written at once."""

UNKNOWN_SIZE = 128 * 1024
"""Bytes of a value that was never read, until it is known how large they usually are.

With 64 values of a megabyte each, reading would exceed the time-out, and do so forever.
"""

MERGE_ATTEMPTS = 200
"""Conflicts in a row after which a memcached is given up: it is lying.

Ten servers that write the same topic all the time would reach 20 within seconds.
"""


class Replicator:
    """Brings topics and their values in memcached together, many at a time.

    Each round reads the values of all topics that have something new or are asked for, merges
    them into the histories, and writes back those that have something new: two round trips,
    however many topics and notifications there are. A round works on its own copy of the state,
    so that whatever is published meanwhile is part of the next one.
    """

    def __init__(self, merger: Merger) -> None:
        """`merger` decides what a value in memcached means, and what is stored."""
        self.write_seconds = Histogram()
        """How long it took to merge and store the topics of one round."""
        self._merger = merger
        self._replicas: dict[str, Replica] = {}
        self._dirty: dict[str, Replica] = {}
        self._reads: dict[str, Replica] = {}
        self._usual_size = UNKNOWN_SIZE
        self._started_at = time.time()

    @property
    def pending(self) -> bool:
        """Whether there is anything to read or to write."""
        return bool(self._dirty or self._reads)

    @property
    def unsaved(self) -> int:
        """The number of topics with notifications that are not stored."""
        return len(self._dirty)

    def mark(self, topic: Topic, id: int) -> None:
        """Note that `topic` has a new notification with this id."""
        replica = self._replicas.get(topic.name) or self._create(topic)
        if not replica.first_unsaved:
            replica.first_unsaved = id
            self._dirty[topic.name] = replica

    def wait_stored(self, name: str) -> "asyncio.Future[bool] | None":
        """Return a future for when all that was marked in topic `name` is stored, or released.

        None if nothing is unsaved.
        """
        replica = self._replicas.get(name)
        return None if replica is None else replica.wait_stored()

    def wait_read(self, topic: Topic) -> "asyncio.Future[bool]":
        """Return a future for when the value of `topic` was read and merged, or released.

        Its result is whether it was read: at a time after this call, so that it has everything
        that other servers have stored by now.
        """
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
            replica.release()
            if replica.job is not None:  # it would be merged into a topic that is gone
                replica.job.finish_read(False)

    def release(self) -> None:
        """Release all that wait: memcached is lost."""
        for replica in [*self._dirty.values(), *self._reads.values()]:
            replica.release()
        self._reads.clear()

    async def restore(self, memcached: Memcached) -> None:
        """Store everything that is known now in a memcached that may have nothing of it.

        What is published meanwhile is left to later rounds: it might never come to an end.
        Raises CacheError.
        """
        self._usual_size = UNKNOWN_SIZE
        for name, replica in self._replicas.items():
            replica.conflicts = 0
            replica.forget_refusals()
            if not replica.topic.history.empty:
                replica.first_unsaved = replica.first_unsaved or replica.topic.history.last_id + 1
                self._dirty[name] = replica
        left = len(self._dirty)
        while left > 0 and self._dirty:
            left -= await self.round(memcached, MAX_BULK)

    async def drain(self, memcached: Memcached) -> None:
        """Run rounds until nothing is left. Raises CacheError."""
        while self.pending:
            await self.round(memcached, MAX_BULK)

    async def round(self, memcached: Memcached, max_keys: int = MAX_KEYS) -> int:
        """Read and write as many topics as fit; return how many were written.

        Raises CacheError; then all that was not written yet remains to be done.
        """
        jobs = self._take(max_keys)
        started = time.monotonic()
        try:
            entries = await memcached.get([MARKER, *(job.key for job in jobs)])
            if MARKER in entries:
                await memcached.delete(MARKER)
            await self._learn_all(jobs, entries)
            await self._write([job for job in jobs if job.first_unsaved], memcached)
        except (CacheError, asyncio.CancelledError):
            for job in jobs:
                job.finish_read(False)
                self._put_back(job)
            raise
        written = sum(job.done for job in jobs if job.first_unsaved)
        if written:
            self.write_seconds.observe(time.monotonic() - started)
        return written

    def _create(self, topic: Topic) -> Replica:
        replica = self._replicas[topic.name] = Replica(topic, self._started_at)
        return replica

    def _take(self, max_keys: int) -> list[Job]:
        """Choose the topics of a round: in turn, one to be read and the one longest unsaved.

        So neither readers nor publishers can keep the others waiting, however many they are.
        """
        chosen: dict[str, Replica] = {}
        size = 0
        for name, replica in self._candidates():
            if name not in chosen:
                size += self._usual_size if replica.size is None else replica.size
                if len(chosen) == max_keys or (chosen and size > MAX_ROUND):
                    break
                chosen[name] = replica
        for name in chosen:
            self._dirty.pop(name, None)
            self._reads.pop(name, None)
        return [replica.take() for replica in chosen.values()]

    def _candidates(self) -> Iterator[tuple[str, Replica]]:
        for pair in itertools.zip_longest(self._reads.items(), self._dirty.items()):
            yield from filter(None, pair)

    async def _learn_all(self, jobs: list[Job], entries: dict[bytes, Entry]) -> None:
        """Merge the stored values into the histories, and release the readers."""
        size = 0
        for job in jobs:
            entry = entries.get(job.key)
            self._merger.learn(job, entry)
            job.finish_read(True)
            if not job.first_unsaved:
                job.finish()
            if entry is not None:
                size += len(entry.value)
                if size > MAX_ROUND:  # decoding a megabyte takes some 10 ms
                    size = 0
                    await asyncio.sleep(0)
        if jobs:
            self._usual_size = sum(job.replica.size or 0 for job in jobs) // len(jobs)

    async def _write(self, jobs: list[Job], memcached: Memcached) -> None:
        """Store the newest notifications of each topic, in batches of `MAX_ROUND` bytes."""
        batch: list[tuple[Job, Write]] = []
        size = 0
        for job in jobs:
            write = self._merger.encode(job)
            if write is None:
                job.finish()
                continue
            size += len(write.value)
            if batch and size > MAX_ROUND:
                await self._store(batch, memcached)
                batch, size = [], len(write.value)
            batch.append((job, write))
        if batch:
            await self._store(batch, memcached)

    async def _store(self, batch: list[tuple[Job, Write]], memcached: Memcached) -> None:
        outcomes = await memcached.store([write for _, write in batch])
        for (job, write), outcome in zip(batch, outcomes, strict=True):
            self._settle(job, write, outcome)

    def _settle(self, job: Job, write: Write, outcome: Outcome) -> None:
        """Note the outcome of a write."""
        replica = job.replica
        if outcome.stored:
            replica.stored_hash, replica.size = hash(write.value), len(write.value)
            replica.conflicts = 0
            job.finish()
        elif outcome.refusal:
            # The problem of one topic: everything else is stored, memcached remains in use.
            if self._merger.shrink(job, write, outcome.refusal):
                self._put_back(job)
            else:
                job.finish()
        else:
            replica.conflicts += 1
            if replica.conflicts > MERGE_ATTEMPTS:
                raise CacheError(f"{write.key.decode()} changed {MERGE_ATTEMPTS} times in a row")
            self._put_back(job)

    def _put_back(self, job: Job) -> None:
        """Leave a job to a later round."""
        if not job.first_unsaved or job.done:
            return
        replica, name = job.replica, job.replica.topic.name
        if self._replicas.get(name) is not replica:  # its topic was discarded meanwhile
            job.finish()
            return
        replica.put_back(job)
        self._dirty[name] = replica
