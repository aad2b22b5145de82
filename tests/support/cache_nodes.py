"""Servers without their sockets, for tests of the cache: topics, a broker, and a cache."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aionotify.broker.local import LocalBroker
from aionotify.cache import Cache
from aionotify.cache.memcached import Entry, Memcached, Outcome, Write
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.net import Address
from aionotify.notification import Draft, Notification
from tests.support.fault_server import FakeMemcached
from tests.support.memcached import MemcachedProcess
from tests.support.waiting import eventually, free_port

NOW = int(time.time() * 1000)
"""The time that `note` counts from, in milliseconds since the epoch."""


def note(number: int, message: str = "", age: float = 0, topic: str = "main") -> Notification:
    """Return a notification that is `age` seconds old, with an id that increases with `number`."""
    time = int(NOW - age * 1000)
    return Notification(NOW * 1000 + number, time, message or f"m{number}", topic)


def key(topic: str = "main") -> bytes:
    """Return the key of a topic's recent notifications."""
    return b"aionotify:1:recent:" + topic.encode()


def value(*notifications: Notification, floor: int | None = None) -> bytes:
    """Return what another server would have stored."""
    entries = [{"id": e.id, "time": e.time, "message": e.message} for e in notifications]
    document: dict[str, object] = {} if floor is None else {"floor": floor}
    return json.dumps(document | {"notifications": entries}).encode()


def put(
    memcached: MemcachedProcess, value: bytes, key: bytes = key(), ttl: int = 60, flags: int = 0
) -> None:
    """Store `value` as another client does."""
    head = b"set %b %d %d %d" % (key, flags, ttl, len(value))
    memcached.command(head + b"\r\n" + value, b"STORED\r\n")


class CacheNode:
    """A server without its sockets: topics with histories, a broker, and a cache."""

    def __init__(self, *addresses: Address, limit: int = 5, ttl: int = 3600) -> None:
        ids = IdSource()
        self.limit = limit
        self.hub = Hub(1000, ttl, 100)
        self.cache = Cache(addresses, limit, ttl, ids)
        self.broker = LocalBroker(self.hub, self.cache, ids)

    def add(self, *notifications: Notification) -> None:
        """Publish notifications that have an id already, as the broker does. Never waits."""
        for each in notifications:
            topic = self.broker.open(each.topic)
            self.hub.publish(topic, each, each.size)
            self.cache.replicate(topic, each.id)

    async def publish(self, *messages: str, topic: str = "main", stored: bool = False) -> list[int]:
        """Publish messages; return their ids."""
        drafts = [Draft(topic, each, len(each.encode())) for each in messages]
        published = await self.broker.publish(drafts, wait_stored=stored)
        return [each.id for each in published]

    def recents(self, topic: str = "main") -> list[str]:
        """Return the messages that a client of `topic` is shown."""
        history = self.broker.open(topic).history
        return [e.notification.message for e in history.recent(self.limit, self.hub.oldest())]

    def complete(self, since: int, topic: str = "main") -> bool:
        """Return whether `topic` claims to have everything since an id."""
        return self.broker.open(topic).history.after(since)[1]

    async def check(self) -> None:
        """Check memcached, as the cache does every second."""
        memcached = self.cache._memcached
        assert memcached is not None
        await self.cache._presence.check(memcached)

    @property
    def saved(self) -> bool:
        """Whether everything is written."""
        replicas = self.cache._replicator._replicas.values()
        return not self.cache._replicator.pending and all(each.job is None for each in replicas)


def address_of(memcached: MemcachedProcess | FakeMemcached | None) -> Address:
    """Return the address of a memcached; for None, one where nothing listens."""
    if memcached is None:
        return Address("127.0.0.1", free_port())
    return Address(memcached.host, memcached.port)


@asynccontextmanager
async def running_node(
    *memcacheds: MemcachedProcess | FakeMemcached | None, limit: int = 5, ttl: int = 3600
) -> AsyncIterator[CacheNode]:
    """Start a node, and stop it at the end; it probes the `memcacheds` in order."""
    node = CacheNode(*map(address_of, memcacheds), limit=limit, ttl=ttl)
    await node.broker.start()
    try:
        yield node
    finally:
        await node.broker.stop()


class GatedMemcached(Memcached):
    """A connection on which every read and write waits to be let through."""

    opened: "list[GatedMemcached]"
    closed = False
    """Whether commands wait."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.waiting = 0
        self.done = 0
        self._turns = asyncio.Semaphore(0)
        self.opened.append(self)

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Read once let through."""
        await self._let_through()
        return await super().get(keys)

    async def store(self, writes: Sequence[Write]) -> list[Outcome]:
        """Write once let through."""
        await self._let_through()
        return await super().store(writes)

    async def _let_through(self) -> None:
        if not self.closed:
            return
        self.waiting += 1
        await self._turns.acquire()
        self.waiting -= 1
        self.done += 1

    async def step(self) -> None:
        """Let one command through, if one waits."""
        if self.waiting:
            before = self.done
            self._turns.release()
            await eventually(lambda: self.done > before)

    def open(self) -> None:
        """Let everything through from now on."""
        self.closed = False
        self._turns.release()
