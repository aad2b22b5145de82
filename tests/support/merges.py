"""The state machine of several topics on one connection: every client checked at every step."""

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from aionotify.eventstream import EventStream
from aionotify.notification import Notification
from tests.support.builders import STALL_TIMEOUT
from tests.support.connections import CLIENTS, SIZES, Connections
from tests.support.topics import NAMES, Client, World
from tests.support.transport import FakeTransport

ROOMS = st.sampled_from([float("inf"), float("inf"), 0, 30, 5000])
"""Bytes that a client accepts at first."""

SETS = st.sampled_from([("a", "b"), ("b", "a"), ("a", "c"), ("a", "b", "c"), ("a",)])


class Merges(Connections):
    """Publish to topics, subscribe to sets of them, resume, lag, expire and turn, in any order."""

    def create(self, limit: int, max_bytes: int) -> None:
        """Create the topics, and no client yet."""
        self.world = World(limit, max_bytes)
        self.clients: list[Client] = []

    @property
    def transports(self) -> list[FakeTransport]:
        """The connections of all clients."""
        return [each.transport for each in self.clients]

    @rule(name=st.sampled_from(NAMES), size=st.sampled_from(SIZES))
    def publish(self, name: str, size: int) -> None:
        self.world.publish(name, size)

    @rule(names=SETS, count=st.integers(0, 3), room=ROOMS)
    def subscribe(self, names: tuple[str, ...], count: int, room: float) -> None:
        """Subscribe to recent notifications: `count` of each topic."""
        recents: list[Notification] = []
        for name in names:
            history = self.world.topics[name].history
            start = max(history.first, history.head - count)
            recents += history.between(start, 1 << 20)
        recents.sort(key=lambda each: each.id)
        ids = [each.id for each in recents]
        subscriber, client = self._client(names, room, 0, self.world.last_id(names), ids)
        self.world.subscription(names).subscribe_recent(subscriber, recents, b"")
        self.clients.append(client)

    @precondition(lambda self: self.clients)
    @rule(at=CLIENTS, room=ROOMS)
    def resume(self, at: int, room: float) -> None:
        """Reconnect a client with the position that it has, whether or not it has left."""
        before = self.clients[at % len(self.clients)]
        self._resume(before.names, before.last, room)

    @rule(names=SETS, back=st.integers(0, 12), room=ROOMS)
    def resume_after(self, names: tuple[str, ...], back: int, room: float) -> None:
        """Resume after one of the last notifications, or from the beginning."""
        ids = sorted(each for name in names for each in self.world.ids_after(name, 0))
        self._resume(names, [0, *ids][max(0, len(ids) - back)], room)

    def _resume(self, names: tuple[str, ...], since: int, room: float) -> None:
        subscriber, client = self._client(names, room, since, since, [])
        client.gap = client.may_have_gap = any(self.world.lost_after(name, since) for name in names)
        self.world.subscription(names).subscribe_since(subscriber, since, b"")
        self.clients.append(client)

    def _client(
        self, names: tuple[str, ...], room: float, last: int, position: int, recents: list[int]
    ) -> tuple[EventStream, Client]:
        subscriber = EventStream(STALL_TIMEOUT, chunked=False)
        transport = FakeTransport(subscriber, room)
        positions = dict.fromkeys(names, position)
        joined_at = self.world.last_id(names)
        return subscriber, Client(
            self.world, transport, names, last, positions, recents, False, joined_at
        )

    @rule(name=st.sampled_from(NAMES), keep=st.integers(0, 3))
    def expire(self, name: str, keep: int) -> None:
        """Expire all notifications of a topic but the newest."""
        published = self.world.published[name]
        if len(published) > keep:
            oldest = published[-keep].time if keep else published[-1].time + 1
            self.world.topics[name].history.expire(oldest)

    @rule()
    def settle(self) -> None:
        """Check that every client that reads has everything, whatever the others do."""
        self.loop.settle()
        self.exact()
        for client in self.clients:
            if client.transport.protocol.writable:
                client.check_current()

    @invariant()
    def exact(self) -> None:
        for client in getattr(self, "clients", []):
            client.check()

    def teardown(self) -> None:
        """Let every client read, and check that those still connected have everything."""
        if not hasattr(self, "loop"):
            return
        try:
            self._end()
        finally:
            self.leave_loop()

    def _end(self) -> None:
        for client in self.clients:
            client.transport.accept()
        self.settle()
        for client in self.clients:
            assert client.transport.protocol.writable or client.transport.is_closing()
            client.transport.lose()
        self.loop.settle()
        assert self.world.stats.connections.total() == 0
        assert not any(topic.subscribers for topic in self.world.topics.values())
