"""The sweep, on connections turned by hand: order, exactness, slices, bounds, and no harm."""

import re
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import aionotify.fanout
from aionotify.encoders import MAX_BATCH, TEXT, TextEncoder
from aionotify.fanout import CLOCK_CHECK_EVERY, Fanout
from aionotify.history import History
from aionotify.notification import Notification
from aionotify.stats import Stats
from aionotify.topic import Topic
from aionotify.websocket import WebSocketSubscriber
from tests.support.loop import FakeTransport, HandLoop, hand_turned

NOW = 1_763_884_800.0
MESSAGE = re.compile(rb"\[Notification\] (\d+)\.")


@pytest.fixture
def loop() -> Iterator[HandLoop]:
    """The running loop, turned by hand."""
    with hand_turned() as loop:
        yield loop


class Room:
    """A topic, its fan-out, and its clients; messages are their number and some padding."""

    def __init__(self, limit: int = 1000, max_bytes: int = 16 << 20) -> None:
        self.stats = Stats()
        self.fanout = Fanout()
        self.topic = Topic(
            "main",
            History(limit, max_bytes),
            self.stats,
            wake=self.fanout.wake,
            on_empty=lambda topic: None,
        )
        self.published = 0

    def join(self, room: float = float("inf")) -> FakeTransport:
        subscriber = WebSocketSubscriber(
            TEXT, 30, admin=False, topic="main", limit=100, receive=unheard
        )
        transport = FakeTransport(subscriber, room)
        self.topic.subscribe(subscriber)
        return transport

    def publish(self, size: int = 0) -> None:
        self.topic.history.append(f"{self.published}." + "x" * size, NOW)
        self.published += 1
        self.fanout.wake(self.topic)


async def unheard(subscriber: WebSocketSubscriber, text: str) -> None:
    """Nobody says anything here."""


def numbers(data: bytes) -> list[int]:
    """Which messages are in `data`."""
    return [int(number) for number in MESSAGE.findall(data)]


class CountingEncoder(TextEncoder):
    """Text frames, and a list of what was encoded."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        self.calls.append(len(notifications))
        return TEXT.encode(notifications, recent=recent)


def test_what_was_published_meanwhile_is_one_write_for_each(loop: HandLoop) -> None:
    room = Room()
    clients = [room.join() for _ in range(3)]
    for _ in range(10):
        room.publish()
    loop.settle()
    for client in clients:
        assert client.writes == 1
        assert numbers(client.take()) == list(range(10))


def test_it_is_encoded_once_for_all_that_stand_at_the_same_place(loop: HandLoop) -> None:
    room, encoding = Room(), CountingEncoder()
    clients = [room.join() for _ in range(CLOCK_CHECK_EVERY * 3)]
    for client in clients:
        client.protocol.encoder = encoding
    room.publish()
    room.publish()
    loop.settle()
    assert encoding.calls == [2]


def test_two_places_that_alternate_are_encoded_once_each(loop: HandLoop) -> None:
    room, encoding = Room(), CountingEncoder()
    clients = [room.join() for _ in range(10)]
    room.publish()
    loop.settle()
    for at, client in enumerate(clients):
        client.protocol.encoder = encoding
        client.protocol.cursor = at % 2
    room.publish()
    loop.settle()
    assert encoding.calls == [2, 1]


def test_a_batch_is_bounded_and_the_rest_follows(loop: HandLoop) -> None:
    room = Room()
    client = room.join()
    for _ in range(10):
        room.publish(MAX_BATCH // 3)
    loop.settle()
    assert numbers(client.take()) == list(range(10))
    assert client.writes >= 4


def test_nobody_is_visited_when_nothing_is_new(loop: HandLoop) -> None:
    room = Room()
    client = room.join()
    room.publish()
    loop.settle()
    room.fanout.wake(room.topic)
    loop.settle()
    assert client.writes == 1
    assert loop.idle


def test_a_long_sweep_gives_the_loop_back_and_goes_on(
    loop: HandLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aionotify.fanout, "time", loop)
    room = Room()
    clients = [room.join() for _ in range(1000)]

    def takes_its_time() -> None:
        loop.now += 0.0001

    for client in clients:
        client.on_write = takes_its_time
    room.publish()
    slices = []
    while not loop.idle:
        before = sum(client.writes for client in clients)
        loop.turn()
        slices.append(sum(client.writes for client in clients) - before)
    assert sum(slices) == 1000
    assert max(slices) <= 40 + CLOCK_CHECK_EVERY
    assert len(slices) >= 1000 / (40 + CLOCK_CHECK_EVERY)


def test_two_topics_take_turns(loop: HandLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aionotify.fanout, "TIME_SLICE", -1)
    busy, quiet = Room(), Room()
    quiet.fanout = busy.fanout
    for _ in range(CLOCK_CHECK_EVERY * 10):
        busy.join()
    client = quiet.join()
    busy.publish()
    quiet.publish()
    loop.turn()
    loop.turn()
    assert numbers(client.take()) == [0]


def test_a_lagging_client_costs_one_batch_and_delays_nobody(loop: HandLoop) -> None:
    room = Room()
    stalled, healthy = room.join(room=0), room.join()
    for number in range(100):
        room.publish(10_000)
        loop.settle()
        assert numbers(healthy.take()) == [number]
    assert stalled.largest <= MAX_BATCH * 1.01
    stalled.accept()
    loop.settle()
    assert numbers(stalled.take()) == list(range(100))


def test_who_falls_out_of_the_log_is_closed_and_the_others_go_on(loop: HandLoop) -> None:
    room = Room(limit=5)
    stalled, healthy = room.join(room=0), room.join()
    for _ in range(10):
        room.publish()
        loop.settle()
    stalled.accept()
    loop.settle()
    sent = stalled.take()
    assert numbers(sent) == [0]
    assert b"\x03\xf5too slow" in sent
    assert stalled.protocol not in room.topic.subscribers
    assert numbers(healthy.take()) == list(range(10))


def test_a_client_that_vanishes_in_mid_sweep_hurts_nobody(loop: HandLoop) -> None:
    room = Room()
    first, vanishing, last = room.join(), room.join(), room.join()
    vanishing.on_write = vanishing.lose
    room.publish()
    loop.settle()
    room.publish()
    loop.settle()
    assert numbers(first.take()) == numbers(last.take()) == [0, 1]
    assert list(room.topic.subscribers) == [first.protocol, last.protocol]


@pytest.mark.parametrize("error", [RuntimeError("the handler is closed"), OSError("gone")])
def test_a_transport_that_throws_in_mid_sweep_ends_that_client_alone(
    loop: HandLoop, error: Exception
) -> None:
    room = Room()
    first, broken, last = room.join(), room.join(), room.join()

    def throws() -> None:
        raise error

    broken.on_write = throws
    room.publish()
    loop.settle()
    room.publish()
    loop.settle()
    assert numbers(first.take()) == numbers(last.take()) == [0, 1]
    assert list(room.topic.subscribers) == [first.protocol, last.protocol]
    assert broken.aborted


def test_an_error_of_ours_is_reported_and_does_not_end_the_fan_out() -> None:
    with hand_turned() as loop:
        room = Room()
        first, broken, last = room.join(), room.join(), room.join()

        def throws() -> None:
            raise ZeroDivisionError

        broken.on_write = throws
        room.publish()
        loop.settle()
        assert [type(error) for error in loop.errors] == [ZeroDivisionError]
        assert numbers(first.take()) == numbers(last.take()) == [0]
        loop.errors.clear()


class Interleavings(RuleBasedStateMachine):
    """Invariants 1, 2, 6 and 7 over publish, join, leave, lag, drain and turns, in any order."""

    @initialize(limit=st.integers(2, 8), max_bytes=st.sampled_from([1000, 100_000, 1 << 20]))
    def start(self, limit: int, max_bytes: int) -> None:
        self.context = hand_turned()
        self.loop = self.context.__enter__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(aionotify.fanout, "TIME_SLICE", -1)
        self.patch.setattr(aionotify.fanout, "CLOCK_CHECK_EVERY", 2)
        self.room = Room(limit, max_bytes)
        self.clients: list[FakeTransport] = []
        self.expected: dict[FakeTransport, int] = {}
        self.got: dict[FakeTransport, bytes] = {}

    def client(self, at: int) -> FakeTransport:
        return self.clients[at % len(self.clients)]

    @rule(room=st.sampled_from([float("inf"), float("inf"), 0, 30, 5000]))
    def join(self, room: float) -> None:
        client = self.room.join(room)
        self.clients.append(client)
        self.expected[client] = self.room.published
        self.got[client] = b""

    @rule(size=st.sampled_from([0, 10, 40_000, 70_000]))
    def publish(self, size: int) -> None:
        self.room.publish(size)

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, 50))
    def leave(self, at: int) -> None:
        self.client(at).lose()

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, 50))
    def lag(self, at: int) -> None:
        self.client(at).room = 0

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, 50), room=st.sampled_from([1, 50, 30_000, float("inf")]))
    def drain(self, at: int, room: float) -> None:
        self.client(at).accept(room)

    @rule(turns=st.integers(1, 5))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.loop.turn()

    @rule()
    def settle(self) -> None:
        """Whoever reads has everything, whatever the others do (7)."""
        self.loop.settle()
        self.in_order_and_bounded()
        for client in self.clients:
            if client.protocol.writable:
                wanted = list(range(self.expected[client], self.room.published))
                assert numbers(self.got[client]) == wanted

    @invariant()
    def in_order_and_bounded(self) -> None:
        """Nobody is sent a number twice, or one too many, or one too few in between (1, 2, 6)."""
        for client in getattr(self, "clients", []):
            self.got[client] += client.take()
            found = numbers(self.got[client])
            first = self.expected[client]
            assert found == list(range(first, first + len(found)))
            assert client.largest <= 70_000 + 300

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for client in self.clients:
                client.accept()
            self.settle()
            for client in self.clients:
                whole = len(numbers(self.got[client])) + self.expected[client]
                assert (
                    whole == self.room.published
                    or client.is_closing()
                    or not client.protocol.writable
                )
            self.patch.undo()
            self.context.__exit__(None, None, None)


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_what_is_delivered_is_counted_and_a_sweep_is_measured_once(loop: HandLoop) -> None:
    """However many notifications one write carries."""
    room = Room()
    for _ in range(CLOCK_CHECK_EVERY + 1):
        room.join()
    for _ in range(10):
        room.publish()
    room.topic.first_unsent_at = loop.monotonic() - 1
    loop.settle()
    assert room.stats.delivered == 10 * (CLOCK_CHECK_EVERY + 1)
    assert sum(room.stats.fanout_seconds.counts) == 1
    assert room.stats.fanout_seconds.sum >= 1
    room.topic.pending.extend(room.topic.subscribers)  # as those do who lagged: no new sweep
    room.fanout.wake(room.topic)
    loop.settle()
    assert sum(room.stats.fanout_seconds.counts) == 1
