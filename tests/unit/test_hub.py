"""All topics and who is connected: the heartbeat, the limit, and the paced close."""

import asyncio
from collections.abc import Iterator

import pytest

import aionotify.hub
from aionotify.encoders import TEXT
from aionotify.errors import Unavailable
from aionotify.hub import Hub
from aionotify.topic import Topic
from aionotify.websocket import WebSocketSubscriber
from tests.support.loop import FakeTransport, HandLoop, hand_turned
from tests.unit.test_frames import masked

TTL = 3600
PING = b"\x89\x00"
PONG = masked(0x8A, b"")


class Clock:
    """What the hub takes for the `time` module: the loop's own time."""

    def __init__(self, loop: HandLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        return 1_763_884_800.0 + self._loop.now

    def monotonic(self) -> float:
        return self._loop.now


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[HandLoop]:
    """The running loop, turned by hand, with the hub on its clock."""
    with hand_turned() as loop:
        monkeypatch.setattr(aionotify.hub, "time", Clock(loop))
        yield loop


async def unheard(subscriber: WebSocketSubscriber, text: str) -> None:
    """Nobody says anything here."""


def topic(hub: Hub, name: str) -> Topic:
    """The topic of that name, begun at nothing if it is not there."""
    return hub.get_topic(name) or hub.create_topic(name, 0, ())


def is_open(hub: Hub) -> bool:
    """Whether one more may join."""
    try:
        hub.ensure_capacity()
    except Unavailable:
        return False
    return True


def join(topic: Topic, room: float = float("inf")) -> FakeTransport:
    """One more client, in `topic`."""
    subscriber = WebSocketSubscriber(
        TEXT, 30, admin=False, topic=topic.name, limit=100, receive=unheard
    )
    transport = FakeTransport(subscriber, room)
    topic.subscribe(subscriber)
    return transport


def hear(client: FakeTransport) -> None:
    """The client answers."""
    client.protocol.data_received(PONG)


def made(max_connections: int = 10_000) -> Hub:
    """A hub without clients."""
    return Hub(1000, TTL, max_connections)


# ------------------------------------------------------------------------- topics, publishing


def test_a_topic_is_made_once() -> None:
    hub = made()
    assert topic(hub, "main") is topic(hub, "main")
    assert topic(hub, "main") is not topic(hub, "other")


def test_what_is_published_reaches_the_topic_alone(loop: HandLoop) -> None:
    hub = made()
    here, there = join(topic(hub, "main")), join(topic(hub, "other"))
    hub.publish(topic(hub, "main"), "Hello", 0)
    loop.settle()
    assert here.take() == b"\x81\x14[Notification] Hello"
    assert there.take() == b""


def test_an_id_is_above_what_others_have_stored(loop: HandLoop) -> None:
    hub = made()
    assert hub.publish(topic(hub, "main"), "Hello", 1 << 52).id == (1 << 52) + 1


def test_what_is_older_than_its_time_is_dropped_when_something_is_published(
    loop: HandLoop,
) -> None:
    hub = made()
    hub.publish(topic(hub, "main"), "old", 0)
    loop.advance(TTL + 1)
    hub.publish(topic(hub, "main"), "new", 0)
    log = topic(hub, "main").history
    assert (log.first, log.head) == (1, 2)


def test_connections_are_counted_over_all_topics_and_limited(loop: HandLoop) -> None:
    hub = made(max_connections=2)
    first = join(topic(hub, "main"))
    assert (hub.connected, is_open(hub)) == (1, True)
    join(topic(hub, "other"))
    assert (hub.connected, is_open(hub)) == (2, False)
    first.lose()
    loop.settle()
    assert (hub.connected, is_open(hub)) == (1, True)


# ---------------------------------------------------------------------------------- heartbeat


@pytest.fixture
def beating(loop: HandLoop) -> Iterator[Hub]:
    """A hub whose heart beats every 10 s."""
    hub = made()
    task = loop.create_task(hub.heartbeat(10))
    loop.settle()
    yield hub
    task.cancel()
    loop.settle()
    assert task.cancelled()


def test_one_pulse_pings_all_and_needs_no_timer_for_each(loop: HandLoop, beating: Hub) -> None:
    clients = [join(topic(beating, "main")) for _ in range(500)]
    assert loop.timers == 1
    loop.advance(10.5)
    assert [client.take() for client in clients] == [PING] * 500
    assert loop.timers == 1


def test_a_pulse_over_many_gives_the_loop_back(loop: HandLoop, beating: Hub) -> None:
    clients = [join(topic(beating, "main")) for _ in range(450)]
    loop.now = 10.0
    pinged = []
    for _ in range(10):
        before = sum(client.writes for client in clients)
        loop.turn()
        pinged.append(sum(client.writes for client in clients) - before)
    assert sum(pinged) == 450
    assert max(pinged) == 100


def test_who_answers_stays_and_who_is_silent_for_two_is_cut_off(
    loop: HandLoop, beating: Hub
) -> None:
    alive, dead = join(topic(beating, "main")), join(topic(beating, "main"))
    for _ in range(2):
        loop.advance(10)
        hear(alive)
    loop.advance(5)
    assert dead.protocol.connected
    loop.advance(5)
    hear(alive)
    assert dead.aborted
    loop.settle()
    assert beating.connected == 1
    for _ in range(10):
        loop.advance(10)
        hear(alive)
    assert alive.protocol.connected


def test_a_vanished_peer_whose_kernel_takes_no_byte_disappears_as_well(
    loop: HandLoop, beating: Hub
) -> None:
    join(topic(beating, "main"), room=0)
    loop.advance(100)
    assert beating.connected == 0


def test_those_who_leave_are_neither_pinged_nor_cut_off(
    loop: HandLoop, beating: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    clients = [join(topic(beating, "main")) for _ in range(250)]
    loop.advance(21)
    late, gone = clients[-1], clients[-2]
    loop.now = 30.0
    while beating.connected == len(clients):
        loop.turn()
    late.take()
    late.protocol.close(1012)  # type: ignore[attr-defined]
    gone.lose()
    with caplog.at_level("INFO", "aionotify"):
        loop.settle()
    assert late.take() == b"\x88\x02\x03\xf4"
    assert not late.aborted
    assert len(caplog.messages) == 248 - 100


# ------------------------------------------------------------------------------------- the end


def ended(loop: HandLoop, hub: Hub, grace: float) -> asyncio.Task[None]:
    """The close, begun."""
    task: asyncio.Task[None] = loop.create_task(hub.shutdown(grace))
    loop.turn()
    return task


def test_everybody_is_told_to_come_back_and_nobody_may_join(loop: HandLoop) -> None:
    hub = made()
    clients = [join(topic(hub, "main")) for _ in range(3)]
    task = ended(loop, hub, 5)
    assert not is_open(hub)
    loop.advance(1)
    for client in clients:
        assert client.take()[2:4] == b"\x03\xf4"
        client.protocol.data_received(masked(0x88, b"\x03\xf4"))
    loop.advance(0.1)
    assert task.done()
    assert not any(client.aborted for client in clients)


def test_many_are_closed_one_after_another_over_half_the_grace_at_most(loop: HandLoop) -> None:
    hub = made()
    clients = [join(topic(hub, "main")) for _ in range(5000)]
    ended(loop, hub, 5)
    loop.advance(1.25)
    told = sum(client.writes for client in clients)
    assert 2000 < told < 3000
    loop.advance(1.3)
    assert all(client.writes == 1 for client in clients)


def test_who_does_not_answer_is_cut_off_after_the_grace(loop: HandLoop) -> None:
    hub = made()
    silent, stalled = join(topic(hub, "main")), join(topic(hub, "main"), room=0)
    stalled.protocol.write(b"x", 0)
    task = ended(loop, hub, 2)
    loop.advance(1.9)
    assert not task.done()
    assert silent.protocol.connected
    loop.advance(0.2)
    assert task.done()
    assert silent.aborted
    assert stalled.aborted


def test_nobody_to_close_takes_no_time(loop: HandLoop) -> None:
    task = ended(loop, made(), 5)
    loop.advance(0.02)
    assert task.done()


def test_who_leaves_while_others_are_closed_is_not_written_to(loop: HandLoop) -> None:
    hub = made()
    clients = [join(topic(hub, "main")) for _ in range(100)]
    task = ended(loop, hub, 5)
    clients[-1].lose()
    loop.advance(1)
    assert clients[-1].writes == 0
    for client in clients:
        client.lose()
    loop.advance(0.1)
    assert task.done()
