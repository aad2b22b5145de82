"""All topics and connected clients: publishing, the limit, the heartbeat, and the paced close."""

import asyncio
from collections.abc import Iterator

import pytest

import aionotify.hub
from aionotify.budget import ENTRY_OVERHEAD
from aionotify.errors import Unavailable
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.notification import Notification
from aionotify.topic import Topic
from tests.support.builders import Clock, join
from tests.support.frames import masked
from tests.support.loop import HandLoop
from tests.support.transport import FakeTransport

TTL = 3600
"""Seconds for which notifications are retained."""

PING = b"\x89\x00"
PONG = masked(0x8A, b"")


@pytest.fixture
def loop(loop: HandLoop, monkeypatch: pytest.MonkeyPatch) -> HandLoop:
    """The running event loop, turned by hand, with the hub on its clock."""
    monkeypatch.setattr(aionotify.hub, "time", Clock(loop.monotonic))
    return loop


def topic(hub: Hub, name: str) -> Topic:
    """Return the topic `name`, created empty if it does not exist."""
    return hub.get_topic(name) or hub.create_topic(name)


def is_open(hub: Hub) -> bool:
    """Return whether another client may connect."""
    try:
        hub.ensure_capacity(None)
    except Unavailable:
        return False
    return True


def answer_ping(client: FakeTransport) -> None:
    """Send a pong from `client`."""
    client.protocol.data_received(PONG)


def publish(hub: Hub, name: str, message: str, ids: IdSource | None = None) -> Notification:
    """Publish `message`, with the next of `ids`, at the time of the hub's clock."""
    now = hub.oldest() / 1000 + TTL  # the time of the hub's clock
    notification = Notification((ids or IdSource()).next(now), int(now * 1000), message, name)
    hub.publish(topic(hub, name), notification, len(message.encode()))
    return notification


def new_hub(max_connections: int = 10_000) -> Hub:
    """Return a hub without clients."""
    return Hub(1000, TTL, max_connections)


# ------------------------------------------------------------------------- topics and publishing


def test_publish_reaches_its_topic_only(loop: HandLoop) -> None:
    hub = new_hub()
    here, there = join(topic(hub, "main")), join(topic(hub, "other"))
    publish(hub, "main", "Hello")
    loop.settle()
    assert here.take() == b"\x81\x14[Notification] Hello"
    assert there.take() == b""


def test_expired_history_is_dropped(loop: HandLoop) -> None:
    hub = new_hub()
    publish(hub, "main", "old")
    loop.advance(TTL + 1)
    publish(hub, "main", "new")
    log = topic(hub, "main").history
    assert (log.first, log.head) == (1, 2)


def test_connection_limit_spans_topics(loop: HandLoop) -> None:
    hub = new_hub(max_connections=2)
    first = join(topic(hub, "main"))
    assert (hub.connected, is_open(hub)) == (1, True)
    join(topic(hub, "other"))
    assert (hub.connected, is_open(hub)) == (2, False)
    first.lose()
    loop.settle()
    assert (hub.connected, is_open(hub)) == (1, True)


def test_forgotten_topic_keeps_its_position(loop: HandLoop) -> None:
    """A topic that is created again is complete since the last id that it had."""
    hub = new_hub()
    last = publish(hub, "quiet", "Hello").id
    loop.advance(TTL + 1)
    hub.discard_if_empty(topic(hub, "quiet"))
    assert hub.topics == 0
    history = topic(hub, "quiet").history
    assert history.after(last) == (0, True)
    assert history.after(last - 1) == (0, False)


def test_discarded_topic_is_announced(loop: HandLoop) -> None:
    hub, discarded = new_hub(), list[str]()
    hub.on_discard = discarded.append
    client = join(topic(hub, "main"))
    assert discarded == []
    client.lose()
    loop.settle()
    assert discarded == ["main"]


def test_budget_evicts_oldest_of_all_topics(loop: HandLoop) -> None:
    """The bound over all topics holds, whatever topic is published to, and the oldest go first."""
    each = 1000 + ENTRY_OVERHEAD
    hub, ids = Hub(1000, TTL, 10, history_bytes=10 * each), IdSource()
    for number in range(40):
        publish(hub, f"topic{number % 7}", f"{number:01000}", ids)
        assert hub._budget.used <= 10 * each
    kept = [
        int(notification.message)
        for topic in hub._topics.values()
        for notification in topic.history.between(topic.history.first, 1 << 30)
    ]
    assert sorted(kept) == list(range(30, 40))
    loop.advance(TTL + 1)
    for topic in list(hub._topics.values()):
        hub.get_topic(topic.name)
    assert hub._budget.used == 0


# ------------------------------------------------------------------------------------- heartbeat


@pytest.fixture
def beating(loop: HandLoop) -> Iterator[Hub]:
    """A hub with a heartbeat every 10 s."""
    hub = new_hub()
    task = loop.create_task(hub.heartbeat(10))
    loop.settle()
    yield hub
    task.cancel()
    loop.settle()
    assert task.cancelled()


def test_heartbeat_pings_all_with_one_timer(loop: HandLoop, beating: Hub) -> None:
    clients = [join(topic(beating, "main")) for _ in range(500)]
    assert loop.timers == 1
    loop.advance(10.5)
    assert [client.take() for client in clients] == [PING] * 500
    assert loop.timers == 1


def test_heartbeat_yields_to_loop(loop: HandLoop, beating: Hub) -> None:
    clients = [join(topic(beating, "main")) for _ in range(450)]
    loop.now = 10.0
    pinged = []
    for _ in range(10):
        before = sum(client.writes for client in clients)
        loop.turn()
        pinged.append(sum(client.writes for client in clients) - before)
    assert sum(pinged) == 450
    assert max(pinged) == 100


def test_missed_pongs_disconnect(loop: HandLoop, beating: Hub) -> None:
    """A client that answers stays; one that misses two pongs is disconnected."""
    alive, dead = join(topic(beating, "main")), join(topic(beating, "main"))
    for _ in range(2):
        loop.advance(10)
        answer_ping(alive)
    loop.advance(5)
    assert dead.protocol.connected
    loop.advance(5)
    answer_ping(alive)
    assert dead.aborted
    loop.settle()
    assert beating.connected == 1
    for _ in range(10):
        loop.advance(10)
        answer_ping(alive)
    assert alive.protocol.connected


def test_vanished_peer_is_disconnected(loop: HandLoop, beating: Hub) -> None:
    """The stall time-out covers peers that are not pinged because their buffer is full."""
    join(topic(beating, "main"), room=0)
    loop.advance(100)
    assert beating.connected == 0


def test_heartbeat_skips_closing_clients(loop: HandLoop, beating: Hub) -> None:
    """Clients that leave between two slices of a heartbeat are not pinged or disconnected."""
    clients = [join(topic(beating, "main")) for _ in range(250)]
    loop.advance(21)
    late, gone = clients[-1], clients[-2]
    loop.now = 30.0
    while beating.connected == len(clients):
        loop.turn()
    late.take()
    late.protocol.close(1012)  # type: ignore[attr-defined]
    gone.lose()
    loop.settle()
    assert late.take() == b"\x88\x02\x03\xf4"
    assert not late.aborted
    assert sum(client.aborted for client in clients if client is not gone) == 248


# -------------------------------------------------------------------------------------- shutdown


def shutdown(loop: HandLoop, hub: Hub, grace: float) -> asyncio.Task[None]:
    """Start the shutdown of `hub`."""
    task: asyncio.Task[None] = loop.create_task(hub.shutdown(grace))
    loop.turn()
    return task


def test_shutdown_closes_all_with_1012(loop: HandLoop) -> None:
    """No other client may connect meanwhile."""
    hub = new_hub()
    clients = [join(topic(hub, "main")) for _ in range(3)]
    task = shutdown(loop, hub, 5)
    assert not is_open(hub)
    loop.advance(1)
    for client in clients:
        assert client.take()[2:4] == b"\x03\xf4"
        client.protocol.data_received(masked(0x88, b"\x03\xf4"))
    loop.advance(0.1)
    assert task.done()
    assert not any(client.aborted for client in clients)


def test_shutdown_is_paced(loop: HandLoop) -> None:
    """5,000 clients are closed one after another, over half of the grace period."""
    hub = new_hub()
    clients = [join(topic(hub, "main")) for _ in range(5000)]
    shutdown(loop, hub, 5)
    loop.advance(1.25)
    told = sum(client.writes for client in clients)
    assert 2000 < told < 3000
    loop.advance(1.3)
    assert all(client.writes == 1 for client in clients)


@pytest.mark.parametrize("grace", [2, 12])
def test_shutdown_disconnects_after_grace(loop: HandLoop, grace: float) -> None:
    """Whether a client does not answer the close frame, or does not even read it.

    Also after more than the 5 s that an answer may take otherwise.
    """
    hub = new_hub()
    silent, stalled = join(topic(hub, "main")), join(topic(hub, "main"), room=0)
    stalled.protocol.write(b"x", 0)
    task = shutdown(loop, hub, grace)
    loop.advance(grace - 0.1)
    assert not task.done()
    assert silent.protocol.connected
    loop.advance(0.2)
    assert task.done()
    assert silent.aborted
    assert stalled.aborted


def test_hurry_ends_grace(loop: HandLoop) -> None:
    hub = new_hub()
    clients = [join(topic(hub, "main")) for _ in range(1000)]
    shutdown(loop, hub, 60)
    hub.hurry()
    loop.advance(0.1)
    assert all(client.aborted and client.writes for client in clients)


def test_shutdown_without_clients_is_immediate(loop: HandLoop) -> None:
    task = shutdown(loop, new_hub(), 5)
    loop.advance(0.02)
    assert task.done()


def test_shutdown_skips_lost_clients(loop: HandLoop) -> None:
    hub = new_hub()
    clients = [join(topic(hub, "main")) for _ in range(100)]
    task = shutdown(loop, hub, 5)
    clients[-1].lose()
    loop.advance(1)
    assert clients[-1].writes == 0
    for client in clients:
        client.lose()
    loop.advance(0.1)
    assert task.done()
