"""The state machine of the fan-out: any order of events, every client checked at every step."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from aionotify.eventstream import EventStream
from tests.support.builders import STALL_TIMEOUT, LiveTopic
from tests.support.connections import SIZES, Connections
from tests.support.transport import FakeTransport

HEAD = b"head\n\n"
MESSAGE = re.compile(rb"\[Notification\] (\d+)\.")


def numbers(data: bytes) -> list[int]:
    """Return the numbers of the messages in the text frames `data`."""
    return [int(number) for number in MESSAGE.findall(data)]


@dataclass
class TextClient:
    """A plain-text client that follows a topic from the moment it subscribes."""

    transport: FakeTransport
    position: int
    """The number of the notification that has to come next."""

    unread: bytes = b""

    # One message above the batch limit, and the frame around it.
    max_buffer = 70_000 + 300

    def check(self, ids: list[int]) -> None:
        """Check that no number is repeated, added or left out in between."""
        self.unread += self.transport.take()
        found = [*MESSAGE.finditer(self.unread)]
        if found:
            assert [int(each[1]) for each in found] == [
                *range(self.position, self.position + len(found))
            ]
            self.position += len(found)
            self.unread = self.unread[found[-1].end() :]


@dataclass
class StreamClient:
    """A client of server-sent events that resumes after an id."""

    transport: FakeTransport
    position: int
    """The number of the notification that has to come next."""

    subscribed_at: int
    """How many notifications had been published when it subscribed."""

    gap: bool
    """Whether a gap has to come first."""

    caught_up: bool = False
    """Whether it was told its position after the replay."""

    unread: bytes = b""
    events: list[dict[str, Any]] = field(default_factory=list)

    # As JSON in an event, and with the gap and the response head before it.
    max_buffer = 150_000

    def check(self, ids: list[int]) -> None:
        """Check that the events are exact: none twice, none missing, gaps where they have to be."""
        *events, self.unread = (self.unread + self.transport.take()).split(b"\n\n")
        for event in events:
            if event != HEAD.strip():
                self._check_event(json.loads(event.partition(b"data: ")[2]), ids)

    def _check_event(self, data: dict[str, Any], ids: list[int]) -> None:
        if data["type"] == "gap":
            # Only the gap on resuming may be of unknown size: a client that falls out of the
            # history later is told the exact number.
            assert (data["missed"] is None) == (self.gap and not self.events)
            self.position += data["missed"] or 0
        elif data["type"] == "subscribed":
            assert not self.caught_up, "told twice"
            self.caught_up = True
            assert self.position >= self.subscribed_at
            return
        else:
            assert self.events or not self.gap, "a gap had to come first"
            assert int(data["id"]) == ids[self.position]
            assert int(data["message"].partition(".")[0]) == self.position
            assert ("recent" in data) == (self.position < self.subscribed_at)
            assert self.caught_up == (self.position >= self.subscribed_at)
            self.position += 1
        self.events.append(data)


class Deliveries(Connections):
    """Publish, subscribe, resume, lag, drain, disconnect and turns of the loop, in any order.

    Clients of both kinds follow one topic, so that they meet in the passes of the fan-out.
    """

    def create(self, limit: int, max_bytes: int) -> None:
        """Create the topics, and no client yet."""
        self.live = LiveTopic(limit, max_bytes)
        self.clients: list[TextClient | StreamClient] = []

    @property
    def transports(self) -> list[FakeTransport]:
        """The connections of all clients."""
        return [each.transport for each in self.clients]

    @rule(room=st.sampled_from([float("inf"), float("inf"), 0, 30, 5000]))
    def subscribe(self, room: float) -> None:
        self.clients.append(TextClient(self.live.join(room), len(self.live.ids)))

    @precondition(lambda self: self.live.ids)
    @rule(back=st.integers(1, 12), room=st.sampled_from([float("inf"), float("inf"), 0, 5000]))
    def resume(self, back: int, room: float) -> None:
        ids, topic = self.live.ids, self.live.topic
        last, first = max(0, len(ids) - back), topic.history.first
        subscriber = EventStream(STALL_TIMEOUT, chunked=False)
        transport = FakeTransport(subscriber, room)
        topic.subscribe_since(subscriber, ids[last], HEAD)
        gap = last + 1 < first
        self.clients.append(StreamClient(transport, max(last + 1, first), len(ids), gap))

    @rule(count=st.integers(0, 5), room=st.sampled_from([float("inf"), float("inf"), 0, 5000]))
    def subscribe_to_recent(self, count: int, room: float) -> None:
        topic, ids = self.live.topic, self.live.ids
        start = max(topic.history.first, topic.history.head - count)
        recents = topic.history.between(start, 1 << 20)
        subscriber = EventStream(STALL_TIMEOUT, chunked=False)
        transport = FakeTransport(subscriber, room)
        topic.subscribe_recent(subscriber, recents, HEAD)
        position = len(ids) - len(recents)
        self.clients.append(StreamClient(transport, position, len(ids), False))

    @rule(size=st.sampled_from(SIZES))
    def publish(self, size: int) -> None:
        self.live.publish(size)

    @rule()
    def settle(self) -> None:
        """Check that every client that reads has everything, whatever the others do."""
        self.loop.settle()
        self.exact_and_bounded()
        for client in self.clients:
            if client.transport.protocol.writable:
                assert client.position == len(self.live.ids)

    @invariant()
    def exact_and_bounded(self) -> None:
        for client in getattr(self, "clients", []):
            client.check(self.live.ids)
            assert client.transport.largest <= client.max_buffer

    def teardown(self) -> None:
        """Let every client read, and check that those still connected have everything."""
        if hasattr(self, "loop"):
            for client in self.clients:
                client.transport.accept()
            self.settle()
            for client in self.clients:
                assert (
                    client.position == len(self.live.ids)
                    or client.transport.is_closing()
                    or not client.transport.protocol.writable
                )
            self.leave_loop()
