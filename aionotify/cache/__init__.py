"""The cache: recent notifications of each topic, replicated to memcached."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence

from aionotify.cache.format import Legacy
from aionotify.cache.marker import Presence, leave_legacy, take_legacy
from aionotify.cache.memcached import Memcached, probe
from aionotify.cache.merge import Merger
from aionotify.cache.replicator import Replicator
from aionotify.errors import CacheError
from aionotify.ids import IdSource
from aionotify.net import Address
from aionotify.stats import Histogram
from aionotify.topic import Topic

logger = logging.getLogger(__name__)

START_TIMEOUT = 3.0
"""Seconds that probing all hosts may take before the server starts without memcached."""

CHECK_INTERVAL = 1.0
"""Seconds between two checks that memcached still answers."""

WRITE_DELAY = 0.02
"""Seconds that notifications may wait for others to share their write, if no publisher waits."""

RETRY_FIRST, RETRY_LAST = 0.5, 15.0
"""Seconds until a lost memcached is probed again, doubling from the first to the last."""

STOP_TIMEOUT = 2.0
"""Seconds that writing everything may take when the server stops."""


class Cache:
    """Recent notifications per topic, replicated to memcached.

    Memory is authoritative: values read from memcached are merged in and remove nothing. Writing
    happens behind publishing, in batches; whatever memcached does, publishing goes on.

    Its life cycle: `start` probes the hosts in order. While one answers, `_write_loop` replicates
    and `_check_loop` checks it every second. The first failure of any command makes it lost:
    all that wait are released, and `_check_loop` probes again, ever more rarely. A memcached that
    answers is first given everything that is known, and only then counts as connected.
    """

    def __init__(
        self, addresses: Sequence[Address], limit: int, ttl: int, ids: IdSource | None = None
    ) -> None:
        """Keep the newest `limit` of each topic for `ttl` seconds; probe `addresses` in order."""
        self.errors = 0
        """How often a memcached that was in use failed."""
        self._failed: set[Address] = set()
        self._addresses = addresses
        self._ids = ids or IdSource()
        self._presence = Presence()
        self._replicator = Replicator(Merger(limit, ttl, self._ids, self._presence))
        self._memcached: Memcached | None = None
        self._work = asyncio.Event()
        """There is something to read or to write."""
        self._urgent = asyncio.Event()
        """A request waits for it."""
        self._lost = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> bool:
        """Whether a memcached answers, and has everything but the writes under way."""
        return self._memcached is not None

    @property
    def write_seconds(self) -> Histogram:
        """How long it took to merge and store the topics of one round."""
        return self._replicator.write_seconds

    async def start(self) -> Legacy | None:
        """Probe the hosts in order and use the first memcached that answers.

        Takes 3 s at most. Returns the legacy of a server that stopped cleanly, or None if
        notifications of an earlier process may be missing.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT
        memcached, failures = await probe(self._addresses, START_TIMEOUT)
        legacy = None
        if memcached is not None:
            try:
                legacy = await take_legacy(memcached, deadline)
            except CacheError as error:
                failures += f" ({memcached.address}: {error})"
                await memcached.close()
                memcached = None
        if legacy is not None:
            # The clock may have been set back since: a lower id would be taken for an older one.
            self._ids.advance(max([legacy.before, *legacy.last_ids.values()]))
        self._memcached = memcached
        if memcached is not None:
            logger.info("connected to memcached at %s%s", memcached.address, failures)
        else:
            logger.warning(
                "memcached is unavailable%s: keeping recent notifications in memory, retrying in "
                "the background",
                failures,
            )
        self._tasks = [loop.create_task(self._write_loop()), loop.create_task(self._check_loop())]
        return legacy

    async def stop(self, before: int = 0, last_ids: Mapping[str, int] | None = None) -> None:
        """Write the remaining notifications, leave the clean-shutdown marker, and disconnect.

        `before` and `last_ids` are for the next server, see `ForgottenTopics`. Takes 2 s at most.
        """
        if self._stopping:
            return
        self._stopping = True
        deadline = asyncio.get_running_loop().time() + STOP_TIMEOUT
        await self._stop_tasks(deadline)
        failure = ""
        try:
            async with asyncio.timeout_at(deadline):
                await self._save(before, last_ids or {})
        except TimeoutError:
            failure = f"not finished within {STOP_TIMEOUT:g} s"
        except CacheError as error:
            failure = str(error)
        if not (self.errors or self._memcached):
            failure = ""  # there never was one, as the log says since the start
        if failure and self._replicator.unsaved:
            logger.warning(
                "stopped with the recent notifications of %d topics not written to memcached (%s)",
                self._replicator.unsaved,
                failure,
            )
        elif failure:
            logger.warning("stopped without a clean-shutdown marker in memcached (%s)", failure)
        memcached, self._memcached = self._memcached, None
        self._replicator.release()
        if memcached is not None:
            await memcached.close()

    def replicate(self, topic: Topic, id: int) -> None:
        """Note that `topic` has a new notification with this id; memcached gets it soon."""
        self._replicator.mark(topic, id)
        self._work.set()

    async def flush(self, *names: str) -> None:
        """Wait until everything published in these topics is in memcached, or memcached is lost."""
        if self._memcached is not None:
            # All of them wait before the first round, so that each round stores many.
            waiting = [self._replicator.wait_stored(name) for name in names]
            for stored in filter(None, waiting):
                if not stored.done():
                    self._urgent.set()  # for each round that is left: it starts without a delay
                    await stored

    async def refresh(self, topic: Topic) -> bool:
        """Merge in what other servers have stored; calls at the same time share one read.

        Returns whether it was read: not if memcached is lost, or `topic` was discarded meanwhile.
        """
        if self._memcached is None:
            return False
        read = self._replicator.wait_read(topic)
        self._urgent.set()
        self._work.set()
        # Shielded: the future is shared, and one caller that gives up must not cancel it.
        return await asyncio.shield(read)

    def forget(self, name: str) -> None:
        """Drop the state of a topic that has no notifications anymore."""
        self._replicator.forget(name)

    async def _write_loop(self) -> None:
        """Run a round whenever there is something to read or to write."""
        while not self._stopping:
            if self._memcached is None or not self._replicator.pending:
                self._work.clear()
                await self._work.wait()
                continue
            # Batch by pressure: a round starts at once if a request waits for it, and whatever is
            # published during a round is in the next one. Otherwise a short delay saves rounds.
            await _is_set(self._urgent, WRITE_DELAY)
            self._urgent.clear()
            memcached = self._memcached  # may have been lost during the delay
            if memcached is not None and not self._stopping:
                try:
                    await self._replicator.round(memcached)
                except CacheError as error:
                    await self._on_lost(memcached, error)

    async def _check_loop(self) -> None:
        """Check an idle memcached, and probe for one after a loss."""
        retry = RETRY_FIRST
        while not self._stopping:
            memcached = self._memcached
            if memcached is None:
                await asyncio.sleep(retry)
                reconnected = not await self._reconnect()
                retry = RETRY_FIRST if reconnected else min(retry * 2, RETRY_LAST)
            elif not await _is_set(self._lost, CHECK_INTERVAL):
                try:
                    await self._presence.check(memcached)
                except CacheError as error:
                    await self._on_lost(memcached, error)
            self._lost.clear()

    async def _on_lost(self, memcached: Memcached, error: CacheError) -> None:
        """Fall back to memory, and release all that wait."""
        if self._memcached is memcached:
            self._memcached = None
            self.errors += 1
            self._failed.add(memcached.address)
            self._lost.set()
            logger.warning(
                "lost memcached at %s (%s): keeping recent notifications in memory, retrying in "
                "the background",
                memcached.address,
                error,
            )
        if self._memcached is None:
            # Also if the other loop was the first to notice: a round that was under way then has
            # put its waiters back only now.
            self._replicator.release()
        await memcached.close()

    async def _reconnect(self) -> str:
        """Probe again; return why that failed, or an empty text.

        A memcached that answers is given everything before it counts as connected.
        """
        memcached, failures = await probe(self._addresses)
        if memcached is None:
            logger.debug("memcached is still unavailable%s", failures)
            return f"unavailable{failures}"
        try:
            await self._presence.check(memcached)
            await self._replicator.restore(memcached)
        except CacheError as error:
            logger.debug("memcached at %s is unusable: %s", memcached.address, error)
            await memcached.close()
            return str(error)
        except asyncio.CancelledError:
            await memcached.close()
            raise
        self._memcached = memcached
        self._work.set()
        again = "reconnected" if memcached.address in self._failed else "connected"
        logger.info("%s to memcached at %s%s", again, memcached.address, failures)
        return ""

    async def _save(self, before: int, last_ids: Mapping[str, int]) -> None:
        """Write everything, and leave the marker. Raises CacheError.

        Does nothing if there never was a memcached.
        """
        if self._memcached is None and (self.errors or self._replicator.unsaved):
            failure = await self._reconnect()
            if failure and self.errors:
                raise CacheError(failure)
        if self._memcached is not None:
            await self._replicator.drain(self._memcached)
            before = max(before, self._presence.uncertain_before)
            await leave_legacy(self._memcached, before, last_ids)

    async def _stop_tasks(self, deadline: float) -> None:
        """End the loops: a round or a check may finish, a search for memcached is given up."""
        if not self._tasks:
            return
        for event in (self._work, self._urgent, self._lost):
            event.set()
        if self._memcached is None:
            self._tasks[1].cancel()
        loop = asyncio.get_running_loop()
        await asyncio.wait(self._tasks, timeout=max(0, deadline - loop.time()))
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._tasks = []


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait `seconds` for `event` at most; return whether it is set."""
    if not event.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
    return event.is_set()
