"""A memcached in memory, for tests that run many servers for a long time in a moment.

It stands in for a connection (`aionotify.cache.memcached.Memcached`) and obeys a clock that is set
by hand. What real memcacheds do wrong is tested elsewhere.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

import aionotify.broker.local
import aionotify.cache
import aionotify.cache.marker
import aionotify.cache.merge
import aionotify.cache.replicator
import aionotify.hub
from aionotify.broker.local import LocalBroker
from aionotify.cache import Cache
from aionotify.cache.memcached import Entry, Outcome, Write
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.net import Address
from aionotify.notifier import Notifier

START = 1_795_000_000.0
"""When the clock starts, in seconds since the epoch."""


class Clock:
    """Stands in for the module `time`: time passes when `now` is changed."""

    def __init__(self) -> None:
        self.now = START

    def time(self) -> float:
        """Return the time of day."""
        return self.now

    def monotonic(self) -> float:
        """Return the same, for intervals."""
        return self.now


class Store:
    """The values of a memcached, shared by all connections to it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.values: dict[bytes, tuple[bytes, int, float]] = {}
        self.changes = 0

    def get(self, key: bytes) -> Entry | None:
        """Return the value of `key` unless it has expired."""
        value, cas, expiry = self.values.get(key, (b"", 0, 0.0))
        return Entry(value, cas) if self.clock.now < expiry else None

    def put(self, key: bytes, value: bytes, ttl: int) -> None:
        """Store a value."""
        self.changes += 1
        self.values[key] = value, self.changes, self.clock.now + ttl


class Connection:
    """A connection to a `Store`, with the methods of `Memcached` that the cache uses."""

    address = Address("store", 11211)

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the values that exist."""
        found = {key: self._store.get(key) for key in keys}
        return {key: entry for key, entry in found.items() if entry is not None}

    async def store(self, writes: Sequence[Write]) -> list[Outcome]:
        """Store what has not changed."""
        outcomes = []
        for key, value, ttl, cas in writes:
            entry = self._store.get(key)
            unchanged = cas == (entry.cas if entry else None)
            if unchanged:
                self._store.put(key, value, ttl)
            outcomes.append(Outcome(unchanged))
        return outcomes

    async def set(self, key: bytes, value: bytes, ttl: int) -> None:
        """Store a value."""
        self._store.put(key, value, ttl)

    async def delete(self, key: bytes) -> None:
        """Remove a value."""
        self._store.values.pop(key, None)

    async def close(self) -> None:
        """Do nothing."""


class Process:
    """A server process without its sockets: broker, hub and notifier."""

    def __init__(
        self, *, ttl: int = 3600, recent_limit: int = 5, history_limit: int = 1000
    ) -> None:
        self.clock: Clock = aionotify.hub.time  # type: ignore[attr-defined,assignment]
        ids = IdSource()
        self.hub = Hub(max(history_limit, recent_limit), ttl, 100)
        self.cache = Cache([Connection.address], recent_limit, ttl, ids)
        self.broker = LocalBroker(self.hub, self.cache, ids)
        self.notifier = Notifier(self.hub, self.broker, 1 << 20, recent_limit)

    async def check(self) -> None:
        """Have the cache check its memcached, as it does every second."""
        memcached = self.cache._memcached
        assert memcached is not None
        await self.cache._presence.check(memcached)

    async def crash(self) -> None:
        """End without writing anything."""
        for task in self.cache._tasks:
            task.cancel()
        await asyncio.wait(self.cache._tasks)


@contextmanager
def stored() -> Iterator[Store]:
    """Have all caches connect to one `Store`, whose clock is everybody's."""
    clock = Clock()
    store = Store(clock)

    async def probe(addresses: object, seconds: object = None) -> tuple[Connection, str]:
        return Connection(store), ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aionotify.cache, "probe", probe)
        # Checks are made by hand: real seconds must not decide what a test sees.
        patch.setattr(aionotify.cache, "CHECK_INTERVAL", 1e6)
        for module in (
            aionotify.broker.local,
            aionotify.cache.marker,
            aionotify.cache.merge,
            aionotify.cache.replicator,
            aionotify.hub,
        ):
            patch.setattr(module, "time", clock)
        yield store
