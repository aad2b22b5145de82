"""Batching by pressure: at once when idle, many together under load, and nobody in the way."""

import asyncio
import logging
import time
from itertools import pairwise

import pytest

import aionotify.cache
from aionotify.cache import WRITE_DELAY
from aionotify.notification import Draft
from tests.support import MemcachedProcess, eventually, turning_loop
from tests.support.cache_nodes import key, note, put, running_node, value
from tests.support.fault_server import FakeMemcached

BURST = 1000


def round_trips(fake: FakeMemcached) -> int:
    """Return the round trips: one per read, and one for the values that follow it."""
    reads = [each.startswith(b"gets ") for each in fake.commands]
    return sum(reads) + sum(now and not after for now, after in pairwise(reads))


async def test_published_is_stored_soon(memcached: MemcachedProcess) -> None:
    """Also if no publisher waits."""
    async with running_node(memcached) as node:
        assert node.cache.connected
        node.add(note(1, 'é "quoted" \n \0 😀'))
        await eventually(lambda: len(memcached.recents()) == 1, 1)
        assert memcached.recents() == [
            {"id": note(1).id, "time": note(1).time, "message": 'é "quoted" \n \0 😀'}
        ]


async def test_value_has_the_ttl(memcached: MemcachedProcess) -> None:
    async with running_node(memcached, ttl=2_592_000) as node:
        await node.publish("m1", stored=True)
    dump = memcached.command(b"lru_crawler metadump all")
    line = next(each for each in dump.splitlines() if b"recent" in each)
    expiry = int(dict(part.split(b"=") for part in line.split())[b"exp"])
    assert abs(expiry - (time.time() + 2_592_000)) < 10


async def test_value_expires_by_itself(memcached: MemcachedProcess) -> None:
    """Nothing is left behind by a server that is gone."""
    async with running_node(memcached, ttl=2) as node:
        node.add(note(1, age=-3600))
        await eventually(lambda: memcached.messages() == ["m1"])
    await eventually(lambda: memcached.recents() == [], 4, "the value has expired")


async def test_idle_publisher_does_not_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delay that saves round trips is for those that nobody waits for."""
    monkeypatch.setattr(aionotify.cache, "WRITE_DELAY", 60)
    async with FakeMemcached() as fake, running_node(fake) as node:
        async with asyncio.timeout(2):
            for number in range(20):
                await node.publish(str(number), stored=True)
        assert round_trips(fake) <= 2 * 20 + 5


@pytest.mark.parametrize("how", ["at once", "one after another"])
async def test_burst_is_few_round_trips(how: str) -> None:
    async with FakeMemcached() as fake, running_node(fake) as node:
        messages = [f"m{number}" for number in range(BURST)]
        if how == "at once":
            await node.publish(*messages)
        else:
            for message in messages:
                await node.publish(message)
        await eventually(lambda: node.saved)
        assert b'"m999"' in fake.values[key()][0]
        assert round_trips(fake) < 50


async def test_burst_of_waiting_publishers_is_few_round_trips() -> None:
    """What arrives during a round is the next one."""
    async with FakeMemcached() as fake, running_node(fake) as node:
        fake.latency = 0.005
        await asyncio.gather(*(node.publish(f"m{n}", stored=True) for n in range(BURST)))
        assert b'"m999"' in fake.values[key()][0]
        assert round_trips(fake) < 50


async def test_burst_over_many_topics_is_few_round_trips() -> None:
    async with FakeMemcached() as fake, running_node(fake) as node:
        await asyncio.gather(
            *(node.publish("x", topic=f"topic{n}", stored=True) for n in range(BURST))
        )
        assert sum(key(f"topic{n}") in fake.values for n in range(BURST)) == BURST
        assert round_trips(fake) < 50


async def test_steady_publishing_is_few_commands() -> None:
    """As many rounds as there are delays, however fast memcached answers."""
    async with FakeMemcached() as fake, running_node(fake) as node:
        started = time.monotonic()
        for number in range(BURST):
            node.add(note(number))
            await asyncio.sleep(0.0005)
        await eventually(lambda: node.saved)
        rounds = (time.monotonic() - started) / WRITE_DELAY
        assert b'"m999"' in fake.values[key()][0]
        assert len(fake.commands) < 10 + 3 * rounds


async def test_flush_waits_for_every_topic(memcached: MemcachedProcess) -> None:
    """One call that publishes to more topics than a round has."""
    async with running_node(memcached) as node:
        drafts = [Draft(f"topic{number}", "x", 1) for number in range(200)]
        await node.broker.publish(drafts, wait_stored=True)
        assert node.cache._replicator.unsaved == 0
        assert [memcached.messages(each.topic) for each in drafts] == [["x"]] * 200


# ------------------------------------------------------------------------------------------ reading


async def test_readers_share_one_read(memcached: MemcachedProcess) -> None:
    put(memcached, value(note(1)), key("other"))
    async with running_node(memcached) as node:
        before = memcached.statistic("cmd_get")
        await asyncio.gather(*(node.broker.refresh("other") for _ in range(1000)))
        # A round reads the marker, too; a check may come in between.
        assert memcached.statistic("cmd_get") - before <= 4
        assert node.recents("other") == ["m1"]


async def test_first_use_of_topics_is_batched() -> None:
    """memcached is 40 ms away, and a hundred topics are used for the first time."""
    async with FakeMemcached() as fake, running_node(fake) as node:
        for number in range(100):
            fake.values[key(f"topic{number}")] = value(note(number)), 1
        fake.latency = 0.04
        before = round_trips(fake)
        started = time.monotonic()
        async with turning_loop():
            reading = asyncio.gather(*(node.broker.refresh(f"topic{n}") for n in range(100)))
            slowest = 0.0
            while not reading.done():
                published = time.monotonic()
                await node.publish("live")
                slowest = max(slowest, time.monotonic() - published)
                await asyncio.sleep(0.001)
            await reading
        assert time.monotonic() - started < 0.5
        assert round_trips(fake) - before <= 8
        assert slowest < 0.03, "publishing waited for memcached"
        assert [node.recents(f"topic{number}") for number in range(100)] == [
            [f"m{number}"] for number in range(100)
        ]


async def test_distant_memcached_delays_no_publisher() -> None:
    async with FakeMemcached() as fake, running_node(fake) as node:
        fake.latency = 0.04
        started = time.monotonic()
        for number in range(100):
            await node.publish("x", topic=f"topic{number}")
        assert time.monotonic() - started < 0.04
        await eventually(lambda: node.saved)
        assert all(key(f"topic{number}") in fake.values for number in range(100))


# --------------------------------------------------------------------------------------- cancelling


async def test_cancelled_reader_harms_nobody(memcached: MemcachedProcess) -> None:
    put(memcached, value(note(1)), key("other"))
    async with running_node(memcached) as node:
        first, second = (asyncio.create_task(node.broker.refresh("other")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
        assert node.recents("other") == ["m1"]
        assert node.cache.connected


@pytest.mark.parametrize("after", [0, 0.01, 0.06])
async def test_cancelled_publisher_harms_nobody(
    after: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the round, in mid-read, in mid-write: the round is not the publisher's."""
    with caplog.at_level(logging.WARNING, "aionotify"):
        async with FakeMemcached() as fake, running_node(fake) as node:
            fake.latency = 0.04
            first = asyncio.create_task(node.publish("a", stored=True))
            second = asyncio.create_task(node.publish("b", stored=True))
            reader = asyncio.create_task(node.broker.refresh("other"))
            await asyncio.sleep(after)
            first.cancel()
            await asyncio.wait_for(asyncio.gather(second, reader), 1)
            with pytest.raises(asyncio.CancelledError):
                await first
            assert b'"b"' in fake.values[key()][0]
            assert node.recents() == ["a", "b"]
            assert node.cache.connected
    assert caplog.text == ""
