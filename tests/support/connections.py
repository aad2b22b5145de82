"""The part of a state machine that its connections need: they lag, drain, leave, and turns pass."""

from collections.abc import Sequence

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import aionotify.fanout
from tests.support.loop import hand_turned
from tests.support.transport import FakeTransport

SIZES = [0, 10, 40_000, 70_000]
"""Padding of messages: nothing, little, and around the 64 KiB that one write carries at most."""

CLIENTS = st.integers(0, 50)
"""The index of a client, modulo their number."""


class Connections(RuleBasedStateMachine):
    """Clients on connections turned by hand."""

    @initialize(limit=st.integers(1, 8), max_bytes=st.sampled_from([1000, 100_000, 1 << 20]))
    def start(self, limit: int, max_bytes: int) -> None:
        self.context = hand_turned()
        self.loop = self.context.__enter__()
        self.patch = pytest.MonkeyPatch()
        # Every slice of a pass ends after two subscribers, so that turns fall in between.
        self.patch.setattr(aionotify.fanout, "TIME_SLICE", -1)
        self.patch.setattr(aionotify.fanout, "REPLAY_SLICE", -1)
        self.patch.setattr(aionotify.fanout, "CLOCK_CHECK_EVERY", 2)
        self.create(limit, max_bytes)

    def create(self, limit: int, max_bytes: int) -> None:
        """Create the topics, whose histories have these limits."""
        raise NotImplementedError

    @property
    def transports(self) -> Sequence[FakeTransport]:
        """The connections of all clients."""
        raise NotImplementedError

    def transport(self, at: int) -> FakeTransport:
        """Return the connection of a client."""
        return self.transports[at % len(self.transports)]

    @precondition(lambda self: self.transports)
    @rule(at=CLIENTS)
    def catch_up(self, at: int) -> None:
        """Write to a client outside of a pass, as before a reply."""
        subscriber = self.transport(at).protocol
        if subscriber.writable:
            subscriber.topic.catch_up(subscriber)

    @precondition(lambda self: self.transports)
    @rule(at=CLIENTS)
    def disconnect(self, at: int) -> None:
        self.transport(at).lose()

    @precondition(lambda self: self.transports)
    @rule(at=CLIENTS)
    def lag(self, at: int) -> None:
        self.transport(at).room = 0

    @precondition(lambda self: self.transports)
    @rule(at=CLIENTS, room=st.sampled_from([1, 50, 30_000, float("inf")]))
    def drain(self, at: int, room: float) -> None:
        self.transport(at).accept(room)

    @rule(turns=st.integers(1, 5))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.loop.turn()

    def leave_loop(self) -> None:
        """Leave the loop that is turned by hand."""
        self.patch.undo()
        self.context.__exit__(None, None, None)
