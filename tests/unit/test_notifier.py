"""The operations of the server, whatever the wire format: publish, recent, subscribe."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aionotify.cache
import aionotify.fanout
import aionotify.hub
from aionotify.broker.local import LocalBroker
from aionotify.cache import Cache
from aionotify.errors import EmptyMessage, MessageTooBig, Unavailable
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.net import Address
from aionotify.notification import Notification
from aionotify.notifier import Notifier, Page
from aionotify.recents import Recent
from aionotify.subscriber import State
from tests.support.builders import Clock, new_subscriber
from tests.support.loop import hand_turned
from tests.support.memcached import MemcachedProcess
from tests.support.transport import FakeTransport
from tests.support.waiting import eventually, free_port

SPACE = " \t\r\n\v\f\x1c\x85\xa0\u2003\u2028\u3000"
"""Characters that Python's `str.strip` takes for white space, as the FastAPI version did."""

TTL = 3600
"""Seconds for which notifications are retained."""


class Parts:
    """A notifier, its cache and its hub."""

    def __init__(
        self,
        addresses: Sequence[Address] = (),
        *,
        max_connections: int = 10,
        history_limit: int = 1000,
    ) -> None:
        """Build a notifier for messages of 20 bytes, by default without memcached."""
        self.ids = ids = IdSource()
        self.cache = Cache(addresses, 5, TTL, ids)
        self.hub = Hub(history_limit, TTL, max_connections)
        self.broker = LocalBroker(self.hub, self.cache, ids)
        self.notifier = Notifier(self.hub, self.broker, 20, 5)

    async def join(self, head: bytes = b"", topic: str = "main") -> FakeTransport:
        """Subscribe a plain-text client, and return its connection."""
        subscription = await self.notifier.prepare([topic])
        subscriber = new_subscriber()
        transport = FakeTransport(subscriber)
        subscription.start(subscriber, head)
        async with asyncio.timeout(5):
            while subscriber.state is State.REPLAYING:  # noqa: ASYNC110  # one turn at a time
                await asyncio.sleep(0)
        return transport


@pytest.fixture
def parts() -> Parts:
    """A notifier without memcached."""
    return Parts()


@asynccontextmanager
async def started(memcached: MemcachedProcess) -> AsyncIterator[Parts]:
    """Run a notifier with `memcached`."""
    parts = Parts([Address("127.0.0.1", memcached.port)])
    await parts.broker.start()
    yield parts
    await parts.broker.stop()


def messages(page: Page) -> list[str]:
    """Return the messages of an answer to a poll."""
    return [each.message for each in page.notifications]


def frame(text: str) -> bytes:
    """Return a short text frame from a server."""
    payload = text.encode()
    return bytes((0x81, len(payload))) + payload


# ------------------------------------------------------------------------------------ publishing


async def test_published_is_recent_at_once(parts: Parts) -> None:
    before = time.time()
    notification = await parts.notifier.publish("Hello")
    assert (await parts.notifier.recent()).notifications == [notification]
    assert notification.message == "Hello"
    assert before - 1 < notification.time / 1000 < time.time() + 1
    assert abs(notification.id / 1000 - notification.time) < 1000


async def test_ids_increase_within_a_microsecond(parts: Parts) -> None:
    ids = [(await parts.notifier.publish(f"{number}")).id for number in range(100)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("text", ["", " ", SPACE])
async def test_empty_message_is_rejected(parts: Parts, text: str) -> None:
    with pytest.raises(EmptyMessage, match=r"^Empty notifications are not sent\.$"):
        await parts.notifier.publish(text)
    assert (await parts.notifier.recent()).notifications == []


async def test_message_above_limit_is_rejected(parts: Parts) -> None:
    """The limit is in bytes, and applies after white space was stripped."""
    await parts.notifier.publish("é" * 10)
    await parts.notifier.publish(f"  {'x' * 20}  ")
    problem = r"^The message has 21 bytes; the limit is 20\.$"
    with pytest.raises(MessageTooBig, match=problem):
        await parts.notifier.publish("é" * 10 + "x")
    assert len((await parts.notifier.recent()).notifications) == 2


@given(
    st.text(SPACE),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=5),
    st.text(SPACE),
)
def test_message_is_stripped_at_both_ends(before: str, inner: str, after: str) -> None:
    with hand_turned() as loop:
        task = loop.create_task(Parts().notifier.publish(f"{before}<{inner}>{after}"))
        loop.settle()
    assert task.result().message == f"<{inner}>"


async def test_publishers_wait_for_fanout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many busy publishers evict nothing that the fan-out has yet to deliver."""
    monkeypatch.setattr(aionotify.fanout, "TIME_SLICE", -1)
    parts = Parts(max_connections=500, history_limit=20)
    transports = [await parts.join() for _ in range(500)]

    async def publish(publisher: int) -> None:
        for number in range(10):
            await parts.notifier.publish(f"{publisher}.{number}.")

    await asyncio.gather(*map(publish, range(50)))
    await eventually(lambda: all(each.sent.count(b"[Notif") == 500 for each in transports))
    assert parts.hub.connected == 500


# ----------------------------------------------------------------------------------- subscribing


async def test_join_replays_recent_then_live(parts: Parts) -> None:
    """A subscriber is sent the head, the newest five, and everything that follows, in order."""
    for number in range(7):
        await parts.notifier.publish(f"{number}")
    transport = await parts.join(b"head ")
    recents = b"".join(frame(f"[Recent] {number}") for number in range(2, 7))
    assert transport.sent == b"head " + recents
    await parts.notifier.publish("live")
    await eventually(lambda: transport.sent.endswith(b"live"))
    assert transport.sent == b"head " + recents + frame("[Notification] live")


async def test_join_during_fanout_repeats_nothing(parts: Parts) -> None:
    """A notification that is not delivered yet is sent to a new subscriber once, as recent."""
    early = await parts.join()
    await parts.notifier.publish("between")
    late = await parts.join()
    await parts.notifier.publish("after")
    await eventually(lambda: early.sent.endswith(b"after") and late.sent.endswith(b"after"))
    assert late.sent == frame("[Recent] between") + frame("[Notification] after")
    assert early.sent == frame("[Notification] between") + frame("[Notification] after")


async def test_connection_limit_rejects_until_one_leaves() -> None:
    parts = Parts(max_connections=2)
    transports = [await parts.join(), await parts.join()]
    with pytest.raises(Unavailable, match=r"^Too many clients are connected"):
        await parts.join()
    first = next(parts.hub.subscribers())
    assert first.transport is transports[0]
    first.connection_lost(None)
    await parts.join()
    assert parts.hub.connected == 2


# ------------------------------------------------------------------------ memcached and restarts


async def test_restart_continues_from_memcached(memcached: MemcachedProcess) -> None:
    """A new process has the recent notifications of the last one, and higher ids."""
    async with started(memcached) as parts:
        published = [await parts.notifier.publish(f"{number}") for number in range(7)]
    async with started(memcached) as parts:
        assert (await parts.notifier.recent()).notifications == published[-5:]
        assert (await parts.notifier.publish("next")).id > published[-1].id


async def test_ids_exceed_those_of_a_fast_clock(parts: Parts) -> None:
    """Ids continue above those of a server whose clock was an hour ahead."""
    ahead = Notification(int((time.time() + 3600) * 1_000_000), int(time.time() * 1000), "ahead")
    parts.broker.open("main").history.learn([Recent(ahead.id, ahead)], 5, 0)
    parts.ids.advance(ahead.id)
    assert ahead.id < (await parts.notifier.publish("next")).id <= ahead.id + 2


async def test_recent_includes_other_servers(memcached: MemcachedProcess) -> None:
    async with started(memcached) as one, started(memcached) as two:
        await one.notifier.publish("of one")
        await eventually(lambda: memcached.messages() == ["of one"])
        assert messages(await two.notifier.recent()) == ["of one"]
        assert (await two.join()).sent == frame("[Recent] of one")


async def test_unreachable_memcached_falls_back_to_memory() -> None:
    parts = Parts([Address("127.0.0.1", free_port())])
    await parts.broker.start()
    await parts.notifier.publish("Hello")
    assert messages(await parts.notifier.recent()) == ["Hello"]
    await parts.broker.stop()


# --------------------------------------------------------------------------------- unused topics


def holdings(parts: Parts) -> list[int]:
    """Return how many objects each part keeps for topics."""
    replicator, hub = parts.cache._replicator, parts.hub
    kept = (
        hub._topics,
        hub._fanout.active,
        hub._fanout._replaying,
        replicator._replicas,
        replicator._dirty,
        replicator._reads,
    )
    return [*(len(each) for each in kept), hub.connected, hub.websockets, hub._budget.used]


async def test_topics_without_history_are_forgotten(parts: Parts) -> None:
    """Topics that were only subscribed to leave no object behind: fewer than 1 in 100."""
    (await parts.join(topic="first")).protocol.connection_lost(None)
    gc.collect()
    before = len(gc.get_objects())
    for number in range(3_000):
        (await parts.join(topic=f"topic-{number}")).protocol.connection_lost(None)
    assert holdings(parts) == [0] * 9
    gc.collect()
    assert len(gc.get_objects()) - before < 30


async def test_topics_with_expired_history_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    # Patched globally, not module by module: the time must pass for the hub and the cache at once.
    monkeypatch.setattr(time, "time", clock.time)
    monkeypatch.setattr(aionotify.hub, "EXPIRE_INTERVAL", 0.01)
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(aionotify.cache, "RETRY_LAST", 0.01)
    parts = Parts([Address("127.0.0.1", free_port())])
    await parts.broker.start()
    expiring = asyncio.create_task(parts.hub.expire_loop())
    for number in range(1000):
        await parts.notifier.publish("Hello", f"topic-{number}")
    assert holdings(parts)[0] == 1000
    clock.now += TTL + 1
    await eventually(lambda: holdings(parts) == [0] * 9, 8)
    expiring.cancel()
    await parts.broker.stop()


async def test_topic_with_subscriber_stays(parts: Parts) -> None:
    """One subscriber is enough; a topic with a history stays without any."""
    transport = await parts.join(topic="quiet")
    (await parts.join(topic="quiet")).protocol.connection_lost(None)
    await parts.notifier.publish("Hello", "quiet")
    await eventually(lambda: transport.sent == frame("[Notification] Hello"))
    transport.protocol.connection_lost(None)
    assert parts.hub.get_topic("quiet") is not None
