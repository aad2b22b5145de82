"""Several servers on one memcached: they agree, whatever comes in between, and know their gaps."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aionotify.cache
import aionotify.cache.memcached
from tests.support import MemcachedProcess, eventually
from tests.support.builders import Clock
from tests.support.cache_nodes import (
    CacheNode,
    GatedMemcached,
    address_of,
    key,
    note,
    running_node,
    value,
)
from tests.support.cache_rounds import Rounds, during

TOPICS = itertools.count()

STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "command", "command"]), st.integers(0, 1)),
    min_size=5,
    max_size=40,
)


@given(steps=STEPS, limit=st.integers(1, 6), early=st.integers(0, 1))
@settings(max_examples=50, deadline=None)
def test_interleaved_servers_end_with_the_newest_of_both(
    shared: MemcachedProcess, steps: list[tuple[str, int]], limit: int, early: int
) -> None:
    """`early` stops before the other one does: its last write may be in between the other's."""
    asyncio.run(_interleave(shared, steps, limit, early))


@contextmanager
def gates() -> Iterator[None]:
    """Let commands wait, and nothing happen because time passes."""
    GatedMemcached.opened = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aionotify.cache.memcached, "Memcached", GatedMemcached)
        patch.setattr(aionotify.cache, "WRITE_DELAY", 0)
        patch.setattr(aionotify.cache, "CHECK_INTERVAL", 600)
        patch.setattr(aionotify.cache, "STOP_TIMEOUT", 9)
        yield


async def _interleave(
    memcached: MemcachedProcess, steps: list[tuple[str, int]], limit: int, early: int
) -> None:
    topic = f"interleaving{next(TOPICS)}"
    numbers = itertools.count()
    with gates():
        nodes = [CacheNode(address_of(memcached), limit=limit) for _ in range(2)]
        for node in nodes:
            await node.cache.start()
        opened = GatedMemcached.opened
        for gate in opened:
            gate.closed = True
        for kind, which in steps:
            if kind == "add":
                nodes[which].add(replace(note(next(numbers)), topic=topic))
                await eventually(lambda which=which: opened[which].waiting == 1)  # type: ignore[misc]
            else:
                await opened[which].step()
        for gate in opened:
            gate.open()
        for node in (nodes[early], nodes[1 - early]):
            await node.cache.stop()
            assert node.cache.errors == 0
    count = next(numbers)
    newest = [f"m{number}" for number in range(max(0, count - limit), count)]
    assert memcached.messages(topic) == newest


async def test_busy_servers_lose_nothing(
    memcached: MemcachedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither keeps the other one from ever getting through."""
    async with (
        running_node(memcached, limit=1000) as one,
        running_node(memcached, limit=1000) as two,
    ):

        async def publish(node: CacheNode, numbers: range) -> None:
            for number in numbers:
                node.add(note(number))
                await asyncio.sleep(0.001)

        await asyncio.gather(publish(one, range(0, 400, 2)), publish(two, range(1, 400, 2)))
        await eventually(lambda: one.saved and two.saved)
    assert one.cache.errors == two.cache.errors == 0
    assert memcached.messages() == [f"m{number}" for number in range(400)]
    assert "lost" not in caplog.text


async def test_busy_servers_answer_all_publishers(memcached: MemcachedProcess) -> None:
    """Every notification is stored when its publisher is answered, by whichever server."""
    async with (
        running_node(memcached, limit=1000) as one,
        running_node(memcached, limit=1000) as two,
    ):

        async def publish(node: CacheNode, name: str) -> None:
            for number in range(50):
                await node.publish(f"{name}{number}", stored=True)

        await asyncio.gather(*(publish(n, f"{i}-") for i, n in enumerate((one, two, one, two))))
        wanted = {f"{name}-{number}" for name in range(4) for number in range(50)}
        assert {*memcached.messages()} == wanted
        assert one.cache.errors == two.cache.errors == 0


# ------------------------------------------------------------------------------------ their gaps


async def test_publish_elsewhere_is_a_gap(memcached: MemcachedProcess) -> None:
    """It is shown, but was not delivered here."""
    async with running_node(memcached) as one, running_node(memcached) as two:
        (a1,) = await one.publish("a1", stored=True)
        await two.broker.refresh("main")
        assert two.complete(a1)
        (a2,) = await one.publish("a2", stored=True)
        await two.broker.refresh("main")
        assert two.recents() == ["a1", "a2"]
        assert not two.complete(a1)
        assert two.complete(a2)


async def test_own_publish_notices_others(memcached: MemcachedProcess) -> None:
    """Every write reads first."""
    async with running_node(memcached) as one, running_node(memcached) as two:
        (b1,) = await two.publish("b1", stored=True)
        await one.publish("a1", stored=True)
        (b2,) = await two.publish("b2", stored=True)
        assert two.recents() == [*one.recents(), "b2"] == ["b1", "a1", "b2"]
        assert not two.complete(b1)
        assert two.complete(b2)


# ----------------------------------------------------------------------------------- their clocks


@pytest.mark.parametrize("read_before", [True, False])
async def test_clock_behind_publishes_the_newest(
    memcached: MemcachedProcess, clock: Clock, read_before: bool
) -> None:
    """One server's clock is 5 s ahead; what the other one has acknowledged is not older for it."""
    async with running_node(memcached) as ahead, running_node(memcached) as behind:
        if read_before:
            await behind.publish("b0", stored=True)
        clock.now += 5
        await ahead.publish(*(f"a{number}" for number in range(1, 6)), stored=True)
        clock.now -= 5
        await behind.publish("b1", stored=True)
        await ahead.broker.refresh("main")
        wanted = ["a2", "a3", "a4", "a5", "b1"]
        assert behind.recents() == ahead.recents() == memcached.messages() == wanted
        clock.now += 1
        await behind.publish("b2", "b3", stored=True)
        clock.now += 5
        await ahead.publish("a6", stored=True)
        clock.now -= 5
        await behind.broker.refresh("main")
        wanted = ["a5", "b1", "b2", "b3", "a6"]
        assert behind.recents() == ahead.recents() == memcached.messages() == wanted


async def test_several_behind_keep_their_order(clock: Clock) -> None:
    """Also those published right after the others were learned of."""
    rounds = Rounds(limit=6)
    for number in range(3):
        rounds.publish(f"b{number}", now=clock.now)
    rounds.memcached.put(key(), value(note(5_000_000, "a1")))
    await rounds.round()
    for number in range(3, 6):
        rounds.publish(f"b{number}", now=clock.now)
    await rounds.round()
    assert rounds.memcached.messages() == rounds.recents()
    assert rounds.recents() == ["b0", "b1", "b2", "b3", "b4", "b5"]


async def test_publish_while_reading_is_the_newest(clock: Clock) -> None:
    """It got its id before the other server's were known, and its round reads the same value."""
    rounds = Rounds(limit=2)
    rounds.memcached.put(key(), value(note(5_000_000, "a1"), note(5_000_001, "a2")))
    rounds.wait_read()
    during(rounds, "get", lambda: rounds.publish("b1", now=clock.now))
    await rounds.round()
    stored = rounds.wait_stored()
    await rounds.round()
    assert stored.result()
    assert rounds.recents() == rounds.memcached.messages() == ["a2", "b1"]


async def test_agreeing_clocks_change_no_order(clock: Clock) -> None:
    """Something older of ours is not made newer because it is stored later."""
    rounds = Rounds()
    rounds.publish("b1", now=clock.now - 2)
    rounds.memcached.put(key(), value(note(-1_000_000, "a1")))
    await rounds.round()
    assert rounds.memcached.messages() == ["b1", "a1"]


async def test_clock_ahead_is_learned_with_its_rank(clock: Clock) -> None:
    """A third server sorts by the rank, too."""
    rounds, third = Rounds(), Rounds()
    rounds.publish("b1", now=clock.now)
    rounds.memcached.put(key(), value(note(5_000_000, "a1")))
    await rounds.round()
    third.memcached = rounds.memcached
    third.wait_read()
    await third.round()
    assert third.recents() == ["a1", "b1"]
    third.publish("c1", now=clock.now)
    await third.round()
    assert third.memcached.messages() == ["a1", "b1", "c1"]
