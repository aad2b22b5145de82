"""The recents: in memcached where one answers, and in memory always."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Iterable, Sequence

from aionotify.cache.memcached import Memcached
from aionotify.errors import CacheError
from aionotify.notification import Notification
from aionotify.settings import Address

log = logging.getLogger(__name__)

PROBE_TIMEOUT = 3.0
"""Seconds that probing all hosts may take."""

CHECK_INTERVAL = 1.0
"""Seconds between two looks at whether an idle memcached still answers."""

WRITE_INTERVAL = 0.05
"""Seconds between two rounds of writing: what was published meanwhile is one write."""

RETRY_FIRST, RETRY_LAST = 0.5, 15.0
"""Seconds until a lost memcached is probed again, doubling from the first to the last."""

MAX_VALUE = 1_000_000
"""Bytes: memcached refuses more than a mebibyte, unless told otherwise."""

MAX_AHEAD = 24 * 3600
"""Seconds by which another server's clock may be ahead; ids go on from what is stored."""

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
        self._addresses = addresses
        self._limit = limit
        self._ttl = ttl
        self._known: dict[str, list[Notification]] = {}
        self._dirty: set[str] = set()
        self._memcached: Memcached | None = None
        self._reads: dict[str, asyncio.Task[None]] = {}
        self._unreadable: set[str] = set()
        self._work = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether a memcached answers, and has everything but the writes under way."""
        return self._memcached is not None

    async def start(self) -> None:
        """Probe the memcacheds in order, for 3 s at most, and look after the first that answers."""
        self._memcached, failures = await self._probe()
        if self._memcached is not None:
            log.info("recents are kept in memcached at %s%s", self._memcached.address, failures)
        else:
            log.warning(
                "no memcached answers%s: recents are kept in memory, and memcached is probed "
                "again in the background",
                failures,
            )
        self._task = asyncio.create_task(self._look_after())

    async def stop(self) -> None:
        """Write what is not written yet, if memcached answers, and let go of it."""
        self._stop.set()
        self._work.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_TIMEOUT)
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._memcached is not None:
            await self._memcached.close()

    def add(self, topic: str, notification: Notification) -> None:
        """`notification` is the newest of `topic`; memcached hears of it soon."""
        self._learn(topic, [notification])
        self._dirty.add(topic)
        self._work.set()

    def recents(self, topic: str) -> list[Notification]:
        """The newest notifications of `topic` that this process knows of, oldest first."""
        self._learn(topic, ())
        return list(self._known.get(topic, ()))

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
            if self._stop.is_set() and not self._dirty:
                return
            if self._memcached is not None:  # a read may have lost it meanwhile
                await self._write_or_check(self._memcached)
            await _is_set(self._stop, WRITE_INTERVAL)

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
        for topic in list(self._dirty):
            self._dirty.discard(topic)
            try:
                await self._merge(topic, memcached)
            except CacheError:
                self._dirty.add(topic)
                raise

    async def _merge(self, topic: str, memcached: Memcached) -> None:
        for _ in range(MERGE_ATTEMPTS):
            stored = await memcached.get(_key(topic))
            self._absorb(topic, stored.value)
            recents = self.recents(topic)
            if not recents or await memcached.replace(
                _key(topic), _encode(recents), self._ttl, stored.token
            ):
                return
        raise CacheError(f"{_key(topic).decode()} changed {MERGE_ATTEMPTS} times while merging")

    async def _lose(self, memcached: Memcached, error: CacheError) -> None:
        """Fall back to memory."""
        if self._memcached is memcached:
            self._memcached = None
            self._work.set()
            log.warning(
                "lost memcached at %s (%s): recents are kept in memory until one answers again",
                memcached.address,
                error,
            )
        await memcached.close()

    async def _come_back(self) -> bool:
        """Probe again; one that answers is given all that is known before it counts."""
        memcached, failures = await self._probe()
        if memcached is None:
            log.debug("still no memcached%s", failures)
            return False
        self._dirty.update(self._known)
        try:
            await self._write(memcached)
        except CacheError as error:
            log.debug("memcached at %s is no use: %s", memcached.address, error)
            await memcached.close()
            return False
        self._memcached = memcached
        log.info("recents are kept in memcached at %s again", memcached.address)
        return True

    async def _probe(self) -> tuple[Memcached | None, str]:
        """The first memcached that answers, and why those before it were passed over."""
        failures: list[str] = []
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                for address in self._addresses:
                    try:
                        return await Memcached.connect(address), _in_brackets(failures)
                    except CacheError as error:
                        failures.append(f"{address}: {error}")
        except TimeoutError:
            failures.append(f"and {PROBE_TIMEOUT:g} s were over")
        return None, _in_brackets(failures)

    def _absorb(self, topic: str, value: bytes | None) -> None:
        """Learn what memcached has. Anything unreadable is logged once, and overwritten."""
        if value is None:
            return
        try:
            self._learn(topic, _decode(value))
        except ValueError as error:
            if topic not in self._unreadable:
                self._unreadable.add(topic)
                log.warning("%s holds no recents (%s): ignored", _key(topic).decode(), error)

    def _learn(self, topic: str, notifications: Iterable[Notification]) -> None:
        """Keep the newest of what is known and `notifications`, without the expired ones."""
        oldest = (time.time() - self._ttl) * 1000
        union = {*self._known.get(topic, ()), *notifications}
        recents = sorted((each for each in union if each.time > oldest), key=_order)
        if recents:
            self._known[topic] = recents[-self._limit :]
        else:
            self._known.pop(topic, None)

    def _forget_expired(self) -> None:
        """Drop the topics of which nothing is left, so that they cost no memory."""
        oldest = (time.time() - self._ttl) * 1000
        for topic, recents in list(self._known.items()):
            if all(each.time <= oldest for each in recents):
                del self._known[topic]
        self._dirty &= self._known.keys()


def _key(topic: str) -> bytes:
    return b"aionotify:1:recent:" + topic.encode()


def _order(notification: Notification) -> tuple[int, str]:
    """By id; where two servers have published in one microsecond, the same order on both."""
    return notification.id, notification.message


def _encode(recents: list[Notification]) -> bytes:
    """As many of the newest as memcached takes in one value, but one at least."""
    entries: list[bytes] = []
    size = len(_VALUE % b"")
    for each in reversed(recents):
        entry = {"id": each.id, "time": each.time, "message": each.message}
        entries.append(json.dumps(entry, ensure_ascii=False).encode())
        size += len(entries[-1]) + 1
        if size > MAX_VALUE and len(entries) > 1:
            entries.pop()
            break
    return _VALUE % b",".join(reversed(entries))


_VALUE = b'{"notifications":[%b]}'


def _decode(value: bytes) -> list[Notification]:
    """What `_encode` wrote. Raises ValueError for anything else."""
    try:
        document = json.loads(value)
        return [_notification(entry) for entry in document["notifications"]]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not in our format: {error!r}") from error


def _notification(entry: dict[str, object]) -> Notification:
    id, published, message = entry["id"], entry["time"], entry["message"]
    if type(id) is not int or type(published) is not int or type(message) is not str:
        raise TypeError("an entry of other types")
    if not (0 < id < (time.time() + MAX_AHEAD) * 1_000_000 and 0 < published < 2**53):
        raise ValueError("an id or a time out of range")
    message.encode()  # a lone surrogate is no text
    return Notification(id, published, message)


def _in_brackets(failures: Sequence[str]) -> str:
    return f" ({'; '.join(failures)})" if failures else ""


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait `seconds` for `event` at most; say whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
