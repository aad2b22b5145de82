"""Resume is exact: none twice, none missing, in order, and a gap exactly where it has to be."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import aionotify.fanout
from aionotify.eventstream import EventStream
from aionotify.fanout import Fanout
from aionotify.history import History
from aionotify.stats import Stats
from aionotify.topic import Topic
from tests.support.loop import FakeTransport, hand_turned

NOW = 1_763_884_800.0
HEAD = b"head\n\n"


@dataclass
class Client:
    """One that came back, and how far it got."""

    transport: FakeTransport
    position: int
    """The index of the notification that has to come next."""

    joined: int
    """How many had been published when it came."""

    gap: bool
    """Whether a gap has to come first."""

    unread: bytes = b""
    events: list[dict[str, Any]] = field(default_factory=list)


class Resuming(RuleBasedStateMachine):
    """Publish, come back with any id, lag, drain, leave, and turns of the loop, in any order."""

    @initialize(limit=st.integers(1, 8), max_bytes=st.sampled_from([1000, 1 << 20]))
    def start(self, limit: int, max_bytes: int) -> None:
        self.context = hand_turned()
        self.loop = self.context.__enter__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(aionotify.fanout, "TIME_SLICE", -1)
        self.patch.setattr(aionotify.fanout, "CLOCK_CHECK_EVERY", 2)
        self.fanout = Fanout()
        self.stats = Stats()
        self.topic = Topic(
            "main",
            History(limit, max_bytes),
            self.stats,
            wake=self.fanout.wake,
            on_empty=lambda topic: None,
        )
        self.ids: list[int] = []
        self.clients: list[Client] = []

    @rule(size=st.sampled_from([0, 10, 40_000, 70_000]))
    def publish(self, size: int) -> None:
        message = f"{len(self.ids)}." + "x" * size
        self.ids.append(self.topic.history.append(message, NOW).id)
        self.fanout.wake(self.topic)

    @precondition(lambda self: self.ids)
    @rule(back=st.integers(1, 12), room=st.sampled_from([float("inf"), float("inf"), 0, 5000]))
    def resume(self, back: int, room: float) -> None:
        last = max(0, len(self.ids) - back)
        first = self.topic.history.first
        subscriber = EventStream(30, 0)
        transport = FakeTransport(subscriber, room)
        self.topic.subscribe_since(subscriber, self.ids[last], HEAD)
        gap = last + 1 < first
        position = max(last + 1, first)
        self.clients.append(Client(transport, position, len(self.ids), gap))

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, 50))
    def lag(self, at: int) -> None:
        self.clients[at % len(self.clients)].transport.room = 0

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, 50), room=st.sampled_from([1, 50, 30_000, float("inf")]))
    def drain(self, at: int, room: float) -> None:
        self.clients[at % len(self.clients)].transport.accept(room)

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, 50))
    def leave(self, at: int) -> None:
        self.clients[at % len(self.clients)].transport.lose()

    @rule(turns=st.integers(1, 5))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.loop.turn()

    @rule()
    def settle(self) -> None:
        """Whoever reads has everything."""
        self.loop.settle()
        self.exact()
        for client in self.clients:
            if client.transport.protocol.writable:
                assert client.position == len(self.ids)

    @invariant()
    def exact(self) -> None:
        for client in getattr(self, "clients", []):
            *events, client.unread = (client.unread + client.transport.take()).split(b"\n\n")
            for event in events:
                self.check(client, event)
            assert client.transport.largest <= 150_000

    def check(self, client: Client, event: bytes) -> None:
        if event == HEAD.strip():
            return
        data = json.loads(event.partition(b"data: ")[2])
        if data["type"] == "gap":
            assert (data["missed"] is None) == (client.gap and not client.events)
            client.position += data["missed"] or 0
        else:
            assert client.events or not client.gap, "a gap had to come first"
            assert int(data["id"]) == self.ids[client.position]
            assert int(data["message"].partition(".")[0]) == client.position
            assert ("recent" in data) == (client.position < client.joined)
            client.position += 1
        client.events.append(data)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for client in self.clients:
                client.transport.accept()
            self.settle()
            self.patch.undo()
            self.context.__exit__(None, None, None)


TestResuming = Resuming.TestCase
TestResuming.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
