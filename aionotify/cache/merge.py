"""Merging the history of a topic with its value in memcached, in both directions."""

import logging
import time
from collections.abc import Sequence

from aionotify.cache.format import decode, encode
from aionotify.cache.marker import Presence
from aionotify.cache.memcached import Entry, Write
from aionotify.cache.replica import Job, Replica
from aionotify.ids import IdSource
from aionotify.recents import Recent

logger = logging.getLogger(__name__)

REFUSAL_TTL = 60.0
"""Seconds after which memcached is asked again to store what it refused."""


class Merger:
    """Takes from stored values what is new here, and makes new values of both."""

    def __init__(self, limit: int, ttl: int, ids: IdSource, presence: Presence) -> None:
        """Values hold the newest `limit` notifications of the last `ttl` seconds."""
        self._limit = limit
        self._ttl = ttl
        self._ids = ids
        self._presence = presence

    def learn(self, job: Job, entry: Entry | None) -> None:
        """Merge a stored value into the history of its topic."""
        replica = job.replica
        self._notice_absence(replica)
        if entry is None:
            replica.size = 0
        else:
            job.cas, replica.size = entry.cas, len(entry.value)
            digest = hash(entry.value)
            if digest != replica.stored_hash:
                replica.stored_hash = digest
                self._decode(job, entry.value)
        if 0 < job.first_unsaved <= replica.newest and replica.newest > time.time() * 1_000_000:
            # The other server's clock is ahead of ours. By their ids, our notifications would be
            # the older ones, and an acknowledged one could be missing from the recent ones.
            history = replica.topic.history
            self._ids.advance(history.outrank(replica.newest, job.first_unsaved - 1))

    def encode(self, job: Job) -> Write | None:
        """Return the write for a topic, or None if it has nothing to store."""
        replica = job.replica
        history = replica.topic.history
        if replica.refused_at and time.monotonic() - replica.refused_at > REFUSAL_TTL:
            replica.forget_refusals()
        recents: Sequence[Recent] = history.recent(self._limit, self._oldest())
        if not recents:
            return None
        complete_since = history.complete_before(recents)
        if replica.refused:
            replica.refused &= {each.notification.id for each in recents}
            complete_since = max(complete_since, *replica.refused, 0)
            recents = [each for each in recents if each.notification.id not in replica.refused]
        value, job.count = encode(recents, complete_since, replica.max_bytes)
        job.newest_id = recents[-1].notification.id if recents else 0
        return Write(job.key, value, self._ttl, job.cas)

    def shrink(self, job: Job, write: Write, reason: str) -> bool:
        """Note that memcached refused a write; return whether to try again with less.

        The size is halved, and a notification that alone is too large is left out.
        """
        replica = job.replica
        replica.refused_at = time.monotonic()
        _warn(
            replica,
            "memcached refused %d bytes of recent notifications of topic %s (%s): "
            "storing as many as it accepts",
            len(write.value),
            replica.topic.name,
            reason,
        )
        if job.count > 1:
            replica.max_bytes = len(write.value) // 2
        elif job.count == 1:
            replica.refused |= {job.newest_id}
        return job.count > 0

    def _oldest(self) -> float:
        return (time.time() - self._ttl) * 1000

    def _notice_absence(self, replica: Replica) -> None:
        """Take into account what another server may have published and lost since the last read.

        What it published more than `ttl` ago has expired in memcached.
        """
        now = time.time()
        expired = now - self._ttl
        if replica.read_at < expired and replica.read_at <= self._presence.other_seen_at:
            replica.topic.history.lose_before(int(expired * 1_000_000))
        replica.read_at = now

    def _decode(self, job: Job, value: bytes) -> None:
        replica, now = job.replica, time.time()
        try:
            stored = decode(value, replica.topic.name, now)
        except ValueError as error:
            message = "%s in memcached holds no recent notifications (%s): ignoring it"
            _warn(replica, message, job.key.decode(), error)
            return
        oldest = (now - self._ttl) * 1000
        fresh: list[Recent] = []
        complete_since = stored.complete_since
        for each in stored.recents:
            if each.notification.time > oldest:
                fresh.append(each)
            else:
                complete_since = max(complete_since, each.notification.id)
        history = replica.topic.history
        history.learn(fresh, self._limit, complete_since)
        replica.newest = max((each.rank for each in fresh), default=0)
        if replica.newest > now * 1_000_000:
            # Another server's clock is ahead of ours, or ours was set back since a crash: then its
            # last notifications may be lost, although their ids are yet to come.
            history.lose_before(replica.newest + 1)
        # Ids are compared with positions: what is published next must be above both.
        self._ids.advance(max(replica.newest, history.complete_since))


def _warn(replica: Replica, message: str, *values: object) -> None:
    """Log a warning, once for each topic."""
    if not replica.warned:
        replica.warned = True
        logger.warning(message, *values)
