"""What can be asked, whatever the wire format: publish, recent, join."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aionotify.cache
import aionotify.fanout
from aionotify.cache import Cache
from aionotify.encoders import TEXT
from aionotify.errors import EmptyMessage, MessageTooBig, Unavailable
from aionotify.hub import Hub
from aionotify.net import Address
from aionotify.notification import Notification
from aionotify.notifier import Notifier, Subscription
from aionotify.stats import ClientKind
from aionotify.subscriber import Subscriber
from tests.support import MemcachedProcess, eventually, free_port

SPACE = " \t\r\n\v\f\x1c\x85\xa0\u2003\u2028\u3000"
"""Characters that Python's `str.strip` takes for white space, as the FastAPI version did."""


class Transport(asyncio.Transport):
    """Takes everything at once, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.subscriber: Subscriber

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep `data`."""
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""


class TextClient(Subscriber):
    """A client that only listens."""

    kind = ClientKind.WEBSOCKET_TEXT


class Parts:
    """A notifier, and what it is made of."""

    def __init__(self, cache: Cache, clients: int = 10, limit: int = 20) -> None:
        self.cache = cache
        self.hub = Hub(1000, 3600, clients)
        self.notifier = Notifier(self.hub, cache, limit)

    def join(self, head: bytes = b"", topic: str = "main") -> Transport:
        """Somebody new; what they are sent."""
        self.hub.ensure_capacity()
        subscriber, transport = TextClient(TEXT, 30), Transport()
        subscriber.connection_made(transport)
        Subscription(self.notifier, self.cache, topic).start(subscriber, head)
        transport.subscriber = subscriber
        return transport


@pytest.fixture
def parts() -> Parts:
    """Without memcached, and not started."""
    return Parts(Cache([], 5, 3600))


@asynccontextmanager
async def started(memcached: MemcachedProcess) -> AsyncIterator[Parts]:
    """With a memcached."""
    parts = Parts(Cache([Address("127.0.0.1", memcached.port)], 5, 3600))
    await parts.cache.start()
    await parts.notifier.start()
    yield parts
    await parts.cache.stop()


def frame(text: str) -> bytes:
    """A short text frame from a server."""
    payload = text.encode()
    return bytes((0x81, len(payload))) + payload


async def test_what_is_published_is_in_the_recents_at_once(parts: Parts) -> None:
    before = time.time()
    notification = await parts.notifier.publish("Hello")
    assert await parts.notifier.recent() == [notification]
    assert notification.message == "Hello"
    assert before - 1 < notification.time / 1000 < time.time() + 1
    assert abs(notification.id / 1000 - notification.time) < 1000


async def test_ids_increase_within_a_microsecond(parts: Parts) -> None:
    ids = [(await parts.notifier.publish(f"{number}")).id for number in range(100)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("text", ["", " ", SPACE])
async def test_an_empty_message_is_refused(parts: Parts, text: str) -> None:
    with pytest.raises(EmptyMessage, match=r"^Empty notifications are not sent\.$"):
        await parts.notifier.publish(text)
    assert await parts.notifier.recent() == []


async def test_a_message_may_have_so_many_bytes_and_no_more(parts: Parts) -> None:
    await parts.notifier.publish("é" * 10)
    await parts.notifier.publish(f"  {'x' * 20}  ")
    problem = r"^The message has 21 bytes; the limit is 20\.$"
    with pytest.raises(MessageTooBig, match=problem):
        await parts.notifier.publish("é" * 10 + "x")
    assert len(await parts.notifier.recent()) == 2


@given(
    st.text(SPACE),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=5),
    st.text(SPACE),
)
def test_white_space_goes_at_both_ends_and_nowhere_else(
    before: str, inner: str, after: str
) -> None:
    async def publish() -> str:
        notifier = Parts(Cache([], 5, 3600)).notifier
        return (await notifier.publish(f"{before}<{inner}>{after}")).message

    assert asyncio.run(publish()) == f"<{inner}>"


async def test_who_joins_gets_the_head_the_recents_and_all_that_follows_in_order(
    parts: Parts,
) -> None:
    for number in range(7):
        await parts.notifier.publish(f"{number}")
    transport = parts.join(b"head ")
    recents = b"".join(frame(f"[Recent] {number}") for number in range(2, 7))
    assert transport.written == b"head " + recents
    await parts.notifier.publish("live")
    await eventually(lambda: transport.written.endswith(b"live"))
    assert transport.written == b"head " + recents + frame("[Notification] live")


async def test_there_is_no_seam_between_what_was_and_what_comes(parts: Parts) -> None:
    """What the fan-out has not yet delivered when somebody joins is shown once, as a recent."""
    early = parts.join()
    await parts.notifier.publish("between")
    late = parts.join()
    await parts.notifier.publish("after")
    await eventually(lambda: early.written.endswith(b"after") and late.written.endswith(b"after"))
    assert late.written == frame("[Recent] between") + frame("[Notification] after")
    assert early.written == frame("[Notification] between") + frame("[Notification] after")


async def test_no_more_may_join_than_are_allowed() -> None:
    parts = Parts(Cache([], 5, 3600), clients=2)
    transports = [parts.join(), parts.join()]
    with pytest.raises(Unavailable, match=r"^Too many clients are connected"):
        parts.join()
    first = next(parts.hub.subscribers())
    assert first.transport is transports[0]
    first.connection_lost(None)
    parts.join()
    assert parts.hub.connected == 2


async def test_many_busy_publishers_do_not_overtake_those_who_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They wait for the fan-out before what it has yet to deliver is pushed out of the log."""
    monkeypatch.setattr(aionotify.fanout, "TIME_SLICE", -1)
    parts = Parts(Cache([], 5, 3600), clients=500)
    parts.hub = Hub(20, 3600, 500)
    parts.notifier = Notifier(parts.hub, parts.cache, 20)
    transports = [parts.join() for _ in range(500)]

    async def publish(who: int) -> None:
        for number in range(10):
            await parts.notifier.publish(f"{who}.{number}.")

    await asyncio.gather(*map(publish, range(50)))
    await eventually(lambda: all(each.written.count(b"[Notif") == 500 for each in transports))
    assert parts.hub.connected == 500


async def test_a_new_process_goes_on_where_the_last_one_ended(
    memcached: MemcachedProcess,
) -> None:
    async with started(memcached) as parts:
        published = [await parts.notifier.publish(f"{number}") for number in range(7)]
    async with started(memcached) as parts:
        assert await parts.notifier.recent() == published[-5:]
        assert (await parts.notifier.publish("next")).id > published[-1].id


async def test_ids_go_on_above_those_of_a_clock_that_was_ahead(parts: Parts) -> None:
    ahead = Notification(int((time.time() + 3600) * 1_000_000), int(time.time() * 1000), "ahead")
    parts.cache.add("main", ahead)
    assert ahead.id < (await parts.notifier.publish("next")).id <= ahead.id + 2


async def test_what_another_process_published_is_among_the_recents(
    memcached: MemcachedProcess,
) -> None:
    async with started(memcached) as one, started(memcached) as two:
        await one.notifier.publish("of one")
        await eventually(lambda: memcached.messages() == ["of one"])
        assert [each.message for each in await two.notifier.recent()] == ["of one"]
        assert two.join().written == frame("[Recent] of one")


async def test_an_unreachable_memcached_is_no_matter() -> None:
    cache = Cache([Address("127.0.0.1", free_port())], 5, 3600)
    parts = Parts(cache)
    await cache.start()
    await parts.notifier.start()
    await parts.notifier.publish("Hello")
    assert [each.message for each in await parts.notifier.recent()] == ["Hello"]
    await cache.stop()


# -------------------------------------------------------------------- a topic leaves nothing


def holdings(parts: Parts) -> list[int]:
    """How many things each part still keeps for topics."""
    cache, hub = parts.cache, parts.hub
    kept = (hub._topics, cache._known, cache._dirty, cache._opened, cache._waiting, cache._reads)
    return [*(len(each) for each in kept), hub.connected, hub.websockets, len(hub._fanout._active)]


async def test_topics_that_were_only_listened_to_are_forgotten_at_once(parts: Parts) -> None:
    """A hundred thousand of them leave no object behind."""
    parts.join(topic="first").subscriber.connection_lost(None)
    before = len(gc.get_objects())
    for number in range(100_000):
        parts.join(topic=f"topic-{number}").subscriber.connection_lost(None)
    assert holdings(parts) == [0] * 9
    gc.collect()
    assert len(gc.get_objects()) - before < 1000


async def test_topics_that_were_published_to_are_forgotten_when_all_has_expired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 0.05)
    monkeypatch.setattr(aionotify.cache, "RETRY_LAST", 0.05)
    parts = Parts(Cache([Address("127.0.0.1", free_port())], 5, 1))
    parts.hub = Hub(1000, 1, 10)
    parts.notifier = Notifier(parts.hub, parts.cache, 20)
    await parts.cache.start()
    tidying = asyncio.create_task(parts.hub.expire_loop())
    for number in range(1000):
        await parts.notifier.publish("Hello", f"topic-{number}")
    assert holdings(parts)[0] == 1000
    await eventually(lambda: holdings(parts) == [0] * 9, 8)
    tidying.cancel()
    await parts.cache.stop()


async def test_a_topic_with_a_listener_stays(parts: Parts) -> None:
    transport = parts.join(topic="quiet")
    parts.join(topic="quiet").subscriber.connection_lost(None)
    await parts.notifier.publish("Hello", "quiet")
    await eventually(lambda: transport.written == frame("[Notification] Hello"))
    transport.subscriber.connection_lost(None)
    assert parts.hub.get_topic("quiet") is not None
