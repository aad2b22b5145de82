"""Rounds of replication run by hand, on a memcached that is a dictionary."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence

from aionotify.cache.marker import Presence
from aionotify.cache.memcached import Entry, Outcome, Write
from aionotify.cache.merge import Merger
from aionotify.cache.replicator import Replicator
from aionotify.errors import CacheError
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.net import Address
from aionotify.notification import Notification
from aionotify.topic import Topic
from tests.support.cache_nodes import key


async def _let_others_run(name: str) -> None:
    await asyncio.sleep(0)


class ScriptedMemcached:
    """Stands in for a connection: values in a dictionary, and the commands in a list.

    `before` is awaited before each command, with its name; it may be replaced, and may raise.
    """

    address = Address("scripted", 11211)

    def __init__(self) -> None:
        self.values: dict[bytes, tuple[bytes, int]] = {}
        self.commands: list[tuple[str, int]] = []
        """The name of each command, and the number of keys."""
        self.closed = False
        self.outcomes: dict[bytes, Outcome] = {}
        """The outcome of writing a key, if it is not stored."""
        self.before: Callable[[str], Awaitable[None]] = _let_others_run
        self._changes = 0

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the values that exist."""
        self.commands.append(("get", len(keys)))
        await self.before("get")
        return {each: Entry(*self.values[each]) for each in keys if each in self.values}

    async def store(self, writes: Sequence[Write]) -> list[Outcome]:
        """Store what has not changed."""
        self.commands.append(("store", len(writes)))
        await self.before("store")
        return [self._store(each) for each in writes]

    def _store(self, write: Write) -> Outcome:
        if write.key in self.outcomes:
            return self.outcomes[write.key]
        _, cas = self.values.get(write.key, (b"", None))
        if cas == write.cas:
            self.put(write.key, write.value)
        return Outcome(cas == write.cas)

    def put(self, key: bytes, value: bytes) -> None:
        """Store a value as another client does."""
        self._changes += 1
        self.values[key] = value, self._changes

    async def set(self, key: bytes, value: bytes, ttl: int) -> None:
        """Store a value, whatever is there."""
        self.commands.append(("set", 1))
        await self.before("set")
        self.put(key, value)

    async def delete(self, key: bytes) -> None:
        """Remove a value."""
        self.commands.append(("delete", 1))
        await self.before("delete")
        self.values.pop(key, None)

    async def close(self) -> None:
        """Note that the connection was closed."""
        self.closed = True

    def messages(self, topic: str = "main") -> list[str]:
        """Return the messages of the stored recent notifications, oldest first."""
        document = json.loads(self.values[key(topic)][0])
        return [each["message"] for each in document["notifications"]]


class Rounds:
    """A replicator whose rounds are run by hand, on a `ScriptedMemcached`."""

    def __init__(self, limit: int = 5, ttl: int = 3600) -> None:
        self.ids = IdSource()
        self.hub = Hub(1000, ttl, 100)
        self.presence = Presence()
        self.replicator = Replicator(Merger(limit, ttl, self.ids, self.presence))
        self.hub.on_discard = self.replicator.forget
        self.memcached = ScriptedMemcached()
        self.limit = limit

    def topic(self, name: str = "main") -> Topic:
        """Return a topic, which is created if needed."""
        return self.hub.get_topic(name) or self.hub.create_topic(name)

    def publish(self, message: str, topic: str = "main", now: float | None = None) -> int:
        """Publish a message; return its id."""
        now = time.time() if now is None else now
        notification = Notification(self.ids.next(now), int(now * 1000), message, topic)
        self.hub.publish(self.topic(topic), notification, len(message.encode()))
        self.replicator.mark(self.topic(topic), notification.id)
        return notification.id

    def wait_stored(self, topic: str = "main") -> "asyncio.Future[bool]":
        """Return the future of a publisher that waits until it is stored."""
        stored = self.replicator.wait_stored(topic)
        assert stored is not None
        return stored

    def wait_read(self, topic: str = "main") -> "asyncio.Future[bool]":
        """Return the future of a reader."""
        return self.replicator.wait_read(self.topic(topic))

    async def round(self) -> int:
        """Run a round."""
        return await self.replicator.round(self.memcached)  # type: ignore[arg-type]

    async def drain(self) -> None:
        """Run rounds until nothing is left."""
        await self.replicator.drain(self.memcached)  # type: ignore[arg-type]

    async def restore(self) -> None:
        """Store everything in a memcached that may have nothing of it."""
        await self.replicator.restore(self.memcached)  # type: ignore[arg-type]

    def recents(self, topic: str = "main") -> list[str]:
        """Return the messages that a client of `topic` is shown."""
        found = self.topic(topic).history.recent(self.limit, self.hub.oldest())
        return [each.notification.message for each in found]


def during(rounds: Rounds, name: str, act: Callable[[], object]) -> None:
    """Call `act` while the first command with this name is under way."""
    before = rounds.memcached.before
    pending = [act]

    async def hook(command: str) -> None:
        if command == name and pending:
            pending.pop()()
        await before(command)

    rounds.memcached.before = hook


def failing(rounds: Rounds, *names: str) -> None:
    """Let these commands fail, once each."""
    left, before = list(names), rounds.memcached.before

    async def hook(command: str) -> None:
        await before(command)
        if command in left:
            left.remove(command)
            raise CacheError("lost")

    rounds.memcached.before = hook
