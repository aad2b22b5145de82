"""The recents: in memcached where one answers, and in memory always."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence

from aionotify.cache.format import Recents, decode, encode
from aionotify.cache.memcached import Memcached, probe
from aionotify.errors import CacheError
from aionotify.net import Address
from aionotify.notification import MAIN, Notification
from aionotify.stats import Histogram

logger = logging.getLogger(__name__)

CHECK_INTERVAL = 1.0
"""Seconds between two looks at whether an idle memcached still answers."""

WRITE_INTERVAL = 0.05
"""Seconds between two rounds of writing: what was published meanwhile is one write."""

HURRY_INTERVAL = 0.01
"""The same, while somebody waits to hear that it is written."""

RETRY_FIRST, RETRY_LAST = 0.5, 15.0
"""Seconds until a lost memcached is probed again, doubling from the first to the last."""

MERGE_ATTEMPTS = 20
"""How often a write starts again since somebody else wrote at the same time."""

STOP_TIMEOUT = 2.0
"""Seconds that the last write may take."""


class Cache:
    """The newest notifications of each topic, shared through memcached, known here in any case.

    What this process knows is never taken away by anything that memcached does: what it answers
    is merged in. Writing happens behind, coalesced; a lost memcached is probed again, and gets
    everything back.
    """

    def __init__(self, addresses: Sequence[Address], limit: int, ttl: int) -> None:
        """The newest `limit` are kept for `ttl` seconds; `addresses` are probed in order."""
        self.errors = 0
        """How often a memcached failed that was in use."""
        self.write_seconds = Histogram()
        """How long it took to merge and store one topic."""
        self._addresses = addresses
        self._limit = limit
        self._ttl = ttl
        self._known: dict[str, Recents] = {}
        self._dirty: set[str] = set()
        self._opened: set[str] = set()
        self._floors: Mapping[str, int] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._memcached: Memcached | None = None
        self._reads: dict[str, asyncio.Task[None]] = {}
        self._unreadable: set[str] = set()
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether a memcached answers, and has everything but the writes under way."""
        return self._memcached is not None

    async def start(self) -> None:
        """Probe the memcacheds in order, for 3 s at most, and look after the first that answers."""
        self._memcached, failures = await probe(self._addresses)
        if self._memcached is not None:
            logger.info("recents are kept in memcached at %s%s", self._memcached.address, failures)
        else:
            logger.warning(
                "no memcached answers%s: recents are kept in memory, and memcached is probed "
                "again in the background",
                failures,
            )
        self._task = asyncio.create_task(self._look_after())

    async def stop(self, floors: Mapping[str, int] | None = None) -> None:
        """Write what is not written yet, if memcached answers, and let go of it.

        `floors` says for each topic after which id this process knows of everything: what is
        stored for it is sealed, and the next start can rely on that.
        """
        self._floors = floors or {}
        self._dirty |= self._opened & self._known.keys() & self._floors.keys()
        for event in (self._stop, self._work, self._hurry):
            event.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_TIMEOUT)
            self._task.cancel()
            await asyncio.wait([self._task])
        self._wait_no_more()
        if self._memcached is not None:
            await self._memcached.close()

    def add(self, topic: str, notification: Notification) -> None:
        """`notification` is the newest of `topic`; memcached hears of it soon."""
        known = self._known.get(topic)
        if known is None:
            known = self._known[topic] = Recents()
        known.add(notification, self._limit)
        self._dirty.add(topic)
        self._work.set()

    def recents(self, topic: str) -> list[Notification]:
        """The newest notifications of `topic` that this process knows of, oldest first."""
        known = self._known.get(topic)
        if known is None:
            return []
        known.expire(self._oldest())
        return list(known.notifications)

    def newest(self, topic: str) -> int:
        """The highest id that is known in `topic`, or 0."""
        known = self._known.get(topic)
        return known.notifications[-1].id if known is not None and known.notifications else 0

    def count(self, topic: str) -> int:
        """How many notifications `recents` has, without the work of making a list."""
        known = self._known.get(topic)
        oldest = self._oldest()
        return sum(each.time > oldest for each in known.notifications) if known else 0

    def complete_since(self, topic: str) -> int | None:
        """The id after which no recent is missing; None where that is not known."""
        known = self._known.get(topic)
        return known.complete_since if known is not None and known.clean_shutdown else None

    async def begin_writes(self, topic: str) -> None:
        """Break the seal of `topic`, before something is published that may never be stored."""
        if topic in self._opened or self._memcached is None:
            return
        await self.refresh(topic)
        memcached = self._memcached
        if memcached is None:
            return
        if self.complete_since(topic) is not None:
            try:
                await self._merge(topic, memcached)
            except CacheError as error:
                await self._lose(memcached, error)
                return
        self._opened.add(topic)

    async def flush(self, topic: str) -> None:
        """Wait until what was just added to `topic` is in memcached, or memcached is lost."""
        if self._memcached is not None and topic in self._dirty:
            written = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(topic, []).append(written)
            self._hurry.set()
            await written

    async def refresh(self, topic: str) -> None:
        """Learn what others have stored. Calls at the same time share one read; never fails."""
        if self._memcached is None:
            return
        task = self._reads.get(topic)
        if task is None:
            task = self._reads[topic] = asyncio.create_task(self._read(topic, self._memcached))
        await asyncio.shield(task)

    async def _read(self, topic: str, memcached: Memcached) -> None:
        try:
            self._absorb(topic, (await memcached.get(_key(topic))).value)
        except CacheError as error:
            await self._lose(memcached, error)
        finally:
            del self._reads[topic]

    async def _look_after(self) -> None:
        """The one task that writes, checks, and probes again."""
        retry = RETRY_FIRST
        while True:
            self._forget_expired()
            if self._memcached is None:
                if await _is_set(self._stop, retry):
                    return
                retry = RETRY_FIRST if await self._come_back() else min(retry * 2, RETRY_LAST)
                continue
            if not self._stop.is_set():
                await _is_set(self._work, CHECK_INTERVAL)
            self._work.clear()
            if not self._stop.is_set():
                self._hurry.clear()
            if self._stop.is_set() and not self._dirty:
                return
            if self._memcached is not None:  # a read may have lost it meanwhile
                await self._write_or_check(self._memcached)
            await asyncio.sleep(HURRY_INTERVAL)
            await _is_set(self._hurry, WRITE_INTERVAL - HURRY_INTERVAL)

    async def _write_or_check(self, memcached: Memcached) -> None:
        try:
            if self._dirty:
                await self._write(memcached)
            else:
                await memcached.check()
        except CacheError as error:
            await self._lose(memcached, error)

    async def _write(self, memcached: Memcached) -> None:
        """Merge every topic that is dirty by now; what is published meanwhile can wait."""
        loop = asyncio.get_running_loop()
        for topic in list(self._dirty):
            self._dirty.discard(topic)
            waiting = self._waiting.pop(topic, ())
            started = loop.time()
            try:
                await self._merge(topic, memcached)
                self.write_seconds.observe(loop.time() - started)
            except CacheError:
                self._dirty.add(topic)
                raise
            finally:
                _settle(waiting)

    async def _merge(self, topic: str, memcached: Memcached) -> None:
        """Store the newest of what is known and what is stored."""
        for _ in range(MERGE_ATTEMPTS):
            stored = await memcached.get(_key(topic))
            self._absorb(topic, stored.value)
            self._learn(topic, (), self._floors.get(topic, 0))
            known = self._known.get(topic)
            if known is None:
                return
            value = encode(known, clean_shutdown=topic in self._floors)
            if await memcached.replace(_key(topic), value, self._ttl, stored.token):
                self._opened.add(topic)
                return
        raise CacheError(f"{_key(topic).decode()} changed {MERGE_ATTEMPTS} times while merging")

    async def _lose(self, memcached: Memcached, error: CacheError) -> None:
        """Fall back to memory."""
        if self._memcached is memcached:
            self._memcached = None
            self.errors += 1
            self._work.set()
            self._wait_no_more()
            logger.warning(
                "lost memcached at %s (%s): recents are kept in memory until one answers again",
                memcached.address,
                error,
            )
        await memcached.close()

    async def _come_back(self) -> bool:
        """Probe again; one that answers is given all that is known before it counts."""
        memcached, failures = await probe(self._addresses)
        if memcached is None:
            logger.debug("still no memcached%s", failures)
            return False
        self._dirty.update(self._known)
        try:
            await self._write(memcached)
        except CacheError as error:
            logger.debug("memcached at %s is no use: %s", memcached.address, error)
            await memcached.close()
            return False
        self._memcached = memcached
        logger.info("recents are kept in memcached at %s again", memcached.address)
        return True

    def _absorb(self, topic: str, value: bytes | None) -> None:
        """Learn what memcached has. Anything unreadable is logged once, and overwritten."""
        if value is None:
            return
        try:
            stored = decode(value, topic, time.time())
        except ValueError as error:
            if topic not in self._unreadable:
                self._unreadable.add(topic)
                logger.warning("%s holds no recents (%s): ignored", _key(topic).decode(), error)
            return
        self._learn(topic, stored.notifications, stored.complete_since)
        if topic in self._known:
            self._known[topic].clean_shutdown = stored.clean_shutdown

    def _learn(self, topic: str, others: Iterable[Notification], floor: int = 0) -> None:
        """Keep the newest of what is known and `others`, without the expired ones."""
        known = self._known.setdefault(topic, Recents())
        known.learn(others, self._limit, self._oldest())
        known.complete_since = max(known.complete_since, floor)
        if not known.notifications:
            del self._known[topic]

    def _forget_expired(self) -> None:
        """Drop the topics of which nothing is left, so that they cost no memory."""
        oldest = self._oldest()
        for topic, known in list(self._known.items()):
            if all(each.time <= oldest for each in known.notifications):
                del self._known[topic]
        self._dirty &= self._known.keys()
        self._opened &= {*self._known, MAIN}
        for topic in self._waiting.keys() - self._dirty:
            _settle(self._waiting.pop(topic))

    def _oldest(self) -> float:
        """What was published by then, in milliseconds since the epoch, has expired."""
        return (time.time() - self._ttl) * 1000

    def _wait_no_more(self) -> None:
        """Nothing is written any more that somebody waits for."""
        while self._waiting:
            _settle(self._waiting.popitem()[1])


def _key(topic: str) -> bytes:
    return b"aionotify:1:recent:" + topic.encode()


def _settle(waiting: Iterable["asyncio.Future[None]"]) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(None)


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait `seconds` for `event` at most; say whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
