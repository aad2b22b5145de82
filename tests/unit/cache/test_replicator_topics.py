"""Topics that come and go, and everything at once for a memcached that is new or empty."""

import asyncio

import pytest

import aionotify.cache
from aionotify.cache.memcached import Outcome
from aionotify.errors import CacheError
from tests.support import MemcachedProcess, eventually
from tests.support.builders import Clock
from tests.support.cache_nodes import key, note, running_node, value
from tests.support.cache_rounds import Rounds, during

# --------------------------------------------------------------------------------------- discarded


async def test_discarded_topic_is_forgotten(clock: Clock) -> None:
    rounds = Rounds()
    for number in range(10):
        rounds.publish("x", f"topic{number}", clock.now)
    await rounds.drain()
    clock.now += 3601
    await rounds.hub.expire()
    assert rounds.replicator._replicas == {}


async def test_waiting_ends_with_its_topic(clock: Clock) -> None:
    """Everything has expired before it was stored: nothing is left to wait for."""
    rounds = Rounds()
    rounds.publish("x", now=clock.now)
    stored, read = rounds.wait_stored(), rounds.wait_read()
    clock.now += 3601
    await rounds.hub.expire()
    assert (stored.result(), read.result()) == (False, False)
    assert not rounds.replicator.pending


@pytest.mark.parametrize("command", ["get", "store"])
@pytest.mark.parametrize("fails", [False, True])
async def test_waiting_ends_when_its_topic_goes_in_mid_round(
    clock: Clock, command: str, fails: bool
) -> None:
    """The round neither stores it later nor brings it back."""
    rounds = Rounds()
    rounds.publish("x", now=clock.now)
    stored, read = rounds.wait_stored(), rounds.wait_read()

    def expire() -> None:
        clock.now += 3601
        topic = rounds.topic()
        topic.history.expire(rounds.hub.oldest())
        rounds.hub.discard_if_empty(topic)
        if fails:
            raise CacheError("lost")
        rounds.memcached.outcomes[key()] = Outcome(False)

    during(rounds, command, expire)
    if fails:
        with pytest.raises(CacheError):
            await rounds.round()
    else:
        await rounds.drain()
    assert stored.done()
    assert read.result() is (command == "store"), "it was merged into a topic that is gone"
    assert rounds.replicator._replicas == {}
    assert not rounds.replicator.pending


async def test_expired_history_is_not_written(clock: Clock) -> None:
    """It may last until the topic is discarded; a value without notifications is of no use."""
    rounds = Rounds()
    rounds.publish("x", now=clock.now)
    stored = rounds.wait_stored()
    clock.now += 3601
    assert await rounds.round() == 1
    assert stored.done()
    assert rounds.memcached.values == {}


@pytest.mark.parametrize("connected", [True, False])
async def test_expired_topics_are_forgotten(
    memcached: MemcachedProcess,
    connected: bool,
    clock: Clock,
    hasty: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also while no memcached answers: topics come and go, and an outage may last."""
    monkeypatch.setattr(aionotify.cache, "CHECK_INTERVAL", 0.02)
    async with running_node(memcached if connected else None) as node:
        node.add(*(note(number, topic=f"topic{number}") for number in range(1000)))
        node.add(note(1001, age=-60, topic="young"))
        await eventually(lambda: not connected or node.saved, 8, "all are written")
        clock.now += 3600.5
        await node.hub.expire()
        assert list(node.cache._replicator._replicas) == ["young"]
        assert node.cache._replicator._dirty.keys() <= {"young"}


async def test_reader_of_a_discarded_topic_reads_again(memcached: MemcachedProcess) -> None:
    """Two requests for a topic that is empty: the first one discards it when it is done."""
    async with running_node(memcached) as node:
        reads = asyncio.gather(*(node.broker.refresh("other") for _ in range(10)))
        await asyncio.sleep(0)
        node.hub.discard_if_empty(node.broker.open("other"))
        memcached.command(
            b"set %b 0 60 %d" % (key("other"), len(value(note(1)))) + b"\r\n" + value(note(1)),
            b"STORED\r\n",
        )
        await asyncio.wait_for(reads, 2)
        assert node.recents("other") == ["m1"]


# ------------------------------------------------------------------------------- everything at once


async def test_restore_stores_everything() -> None:
    rounds = Rounds()
    for number in range(200):
        rounds.publish("x", f"topic{number}")
    await rounds.drain()
    rounds.memcached.values.clear()
    rounds.publish("y", "topic7")
    stored = rounds.wait_stored("topic7")
    await rounds.restore()
    assert stored.result()
    assert len(rounds.memcached.values) == 200
    assert rounds.memcached.messages("topic7") == ["x", "y"]
    assert not rounds.replicator.pending


async def test_restore_merges() -> None:
    rounds = Rounds()
    rounds.publish("own")
    await rounds.drain()
    rounds.memcached.put(key(), value(note(1)))
    await rounds.restore()
    assert rounds.memcached.messages() == ["m1", "own"]


async def test_restore_stores_foreign_notifications() -> None:
    """Another server's are known here, and may be lost otherwise."""
    rounds = Rounds()
    rounds.publish("own")
    rounds.memcached.put(key(), value(note(1)))
    await rounds.drain()
    rounds.memcached.values.clear()
    await rounds.restore()
    assert rounds.memcached.messages() == ["m1", "own"]


async def test_restore_stores_no_empty_topics() -> None:
    """Those that were only subscribed to."""
    rounds = Rounds()
    rounds.wait_read("quiet")
    await rounds.drain()
    rounds.memcached.commands.clear()
    await rounds.restore()
    assert rounds.memcached.commands == []


async def test_restore_ends_while_publishing_goes_on() -> None:
    """What is published meanwhile is left to later rounds, or it would never be connected."""
    rounds = Rounds()
    for number in range(200):
        rounds.publish("x", f"topic{number}")
    before = rounds.memcached.before

    async def publish(name: str) -> None:
        await before(name)
        for number in range(100):
            rounds.publish("again", f"topic{number}")
        assert len(rounds.memcached.commands) < 50, "it goes on forever"

    rounds.memcached.before = publish
    await rounds.restore()
    assert len(rounds.memcached.values) == 200
    assert rounds.replicator.pending


async def test_restore_gives_up_a_liar() -> None:
    """One topic that can never be stored must not pass for a memcached that works."""
    rounds = Rounds()
    for number in range(3):
        rounds.publish("x", f"topic{number}")
    rounds.memcached.outcomes[key("topic1")] = Outcome(False)
    with pytest.raises(CacheError, match="topic1 changed"):
        await rounds.restore()


async def test_restore_does_not_change_the_order(clock: Clock) -> None:
    """What was stored before is not taken for newer than what another server stored since."""
    rounds = Rounds()
    rounds.publish("own", now=clock.now - 10)
    await rounds.drain()
    rounds.memcached.put(key(), value(note(5_000_000)))
    await rounds.restore()
    assert rounds.recents() == rounds.memcached.messages() == ["own", f"m{5_000_000}"]


async def test_refused_is_tried_on_another_memcached() -> None:
    rounds = Rounds()
    rounds.publish("x")
    rounds.memcached.outcomes[key()] = Outcome(False, "object too large for cache")
    await rounds.drain()
    assert key() not in rounds.memcached.values
    rounds.memcached.outcomes.clear()
    await rounds.restore()
    assert rounds.memcached.messages() == ["x"]
