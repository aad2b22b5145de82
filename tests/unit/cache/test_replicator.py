"""Rounds of reading, merging and writing: what each takes up, and what it leaves to the next."""

import asyncio
from typing import Any

import pytest

from aionotify.cache.format import Stored, decode
from aionotify.cache.replicator import MAX_BULK, MAX_KEYS, MAX_ROUND
from tests.support.cache_nodes import key, note, value
from tests.support.cache_rounds import Rounds, during


class Uniterable(dict[str, Any]):
    """A dictionary that must not be walked through."""

    def __iter__(self) -> Any:
        raise AssertionError("the work grows with the number of topics")

    keys = values = items = __iter__


# --------------------------------------------------------------------------------------- its size


async def test_round_is_two_round_trips() -> None:
    """However many topics and notifications there are."""
    rounds = Rounds()
    for number in range(300):
        rounds.publish(f"m{number}", f"topic{number % 5}")
    assert await rounds.round() == 5
    assert rounds.memcached.commands == [("get", 6), ("store", 5)]
    assert rounds.memcached.messages("topic4") == ["m279", "m284", "m289", "m294", "m299"]
    assert not rounds.replicator.pending
    assert sum(rounds.replicator.write_seconds.counts) == 1


async def test_round_without_writes_is_one_round_trip() -> None:
    rounds = Rounds()
    read = rounds.wait_read()
    assert await rounds.round() == 0
    assert rounds.memcached.commands == [("get", 2)]
    assert read.result()
    assert sum(rounds.replicator.write_seconds.counts) == 0


async def test_round_has_64_topics() -> None:
    rounds = Rounds()
    rounds.publish("x")
    await rounds.drain()  # since then it is known how large values are
    for number in range(100):
        rounds.publish("x", f"topic{number}")
    rounds.memcached.commands.clear()
    while rounds.replicator.pending:
        await rounds.round()
    assert rounds.memcached.commands == [("get", 65), ("store", 64), ("get", 37), ("store", 36)]
    assert MAX_KEYS == 64


async def test_everything_is_written_in_larger_rounds() -> None:
    """A server that stops has two seconds for all its topics."""
    rounds = Rounds()
    for number in range(600):
        rounds.publish("x", f"topic{number}")
    await rounds.drain()
    first, *rest = (count - 1 for name, count in rounds.memcached.commands if name == "get")
    assert (first, rest) == (8, [MAX_BULK, MAX_BULK, 600 - 2 * MAX_BULK - 8])
    rounds.memcached.commands.clear()
    await rounds.restore()
    assert [count for name, count in rounds.memcached.commands if name == "store"][1] == MAX_BULK


async def test_work_does_not_grow_with_topics() -> None:
    """A write reads and stores its own topic, and looks at no other one."""
    rounds = Rounds()
    for number in range(1000):
        rounds.publish("x", f"topic{number}")
    await rounds.drain()
    rounds.replicator._replicas = Uniterable(rounds.replicator._replicas)
    rounds.hub._topics = Uniterable(rounds.hub._topics)
    rounds.memcached.commands.clear()
    rounds.publish("y", "topic500")
    stored = rounds.wait_stored("topic500")
    await rounds.round()
    assert stored.result()
    assert rounds.memcached.commands == [("get", 2), ("store", 1)]


async def test_large_values_are_read_few_at_a_time() -> None:
    """As large as they were when they were last seen; more would exceed the time-out."""
    rounds = Rounds()
    for number in range(6):
        rounds.publish("x" * 400_000, f"topic{number}")
    await rounds.drain()
    for number in range(6):
        rounds.publish("y", f"topic{number}")
    rounds.memcached.commands.clear()
    await rounds.drain()
    assert [count - 1 for name, count in rounds.memcached.commands if name == "get"] == [2, 2, 2]


async def test_large_values_are_written_few_at_a_time() -> None:
    """It is not known before how large they are: their topics were never stored."""
    rounds = Rounds()
    rounds.publish("x")
    await rounds.drain()
    for number in range(6):
        rounds.publish("x" * 400_000, f"topic{number}")
    rounds.memcached.commands.clear()
    assert await rounds.round() == 6
    assert rounds.memcached.commands == [("get", 7), *[("store", 2)] * 3]
    assert 2 * 400_000 < MAX_ROUND < 3 * 400_000


async def test_unread_values_may_be_large() -> None:
    """After a restart, 64 values of a megabyte would exceed the time-out, again and again."""
    rounds = Rounds(limit=100)
    for number in range(30):
        large = note(1, "x" * 900_000, topic=f"topic{number}")
        rounds.memcached.put(key(f"topic{number}"), value(large))
        rounds.wait_read(f"topic{number}")
    await rounds.drain()
    reads = [count - 1 for _, count in rounds.memcached.commands]
    assert sum(reads) == 30
    assert max(reads) <= 8


async def test_large_value_is_stored_all_the_same() -> None:
    """One topic is taken, however large."""
    rounds = Rounds(limit=100)
    for number in range(3):
        rounds.memcached.put(key(f"t{number}"), value(note(1, "x" * 2 * MAX_ROUND)))
        rounds.wait_read(f"t{number}")
        rounds.publish("new", f"t{number}")
    await rounds.drain()
    assert rounds.recents("t2")[-1] == "new"


@pytest.mark.parametrize("first", ["reads", "writes"])
async def test_readers_and_publishers_alternate(first: str) -> None:
    """Neither can keep the others waiting, however many they are."""
    rounds = Rounds()
    rounds.publish("x")
    await rounds.drain()
    reads, writes = (500, 1) if first == "reads" else (1, 500)
    waiting_reads = [rounds.wait_read(f"read{number}") for number in range(reads)]
    for number in range(writes):
        rounds.publish("x", f"write{number}")
    stored = rounds.wait_stored("write0")
    await rounds.round()
    assert stored.done()
    assert waiting_reads[0].done()


async def test_longest_unsaved_is_first() -> None:
    """Also if more is published to the others all the time."""
    rounds = Rounds()
    rounds.publish("x")
    await rounds.drain()
    for number in range(200):
        rounds.publish("x", f"topic{number}")
    order = []
    for _ in range(4):
        await rounds.round()
        stored = [each for each in range(200) if key(f"topic{each}") in rounds.memcached.values]
        order.append(stored[-1] + 1)
        for number in range(100):
            rounds.publish("again", f"topic{number}")
    assert order == [64, 128, 192, 200]


# --------------------------------------------------------------------------- what comes in between


async def test_publish_during_a_round_is_in_the_next() -> None:
    rounds = Rounds()
    rounds.publish("one")
    during(rounds, "store", lambda: rounds.publish("two"))
    first = rounds.wait_stored()
    await rounds.round()
    assert first.result()
    assert rounds.memcached.messages() == ["one"]
    assert rounds.replicator.pending
    second = rounds.wait_stored()
    assert not second.done()
    await rounds.round()
    assert second.result()
    assert rounds.memcached.messages() == ["one", "two"]


@pytest.mark.parametrize("command", ["get", "store"])
async def test_waiting_during_a_round_ends_with_it(command: str) -> None:
    """The notification is not stored yet, although nothing is left to be taken up."""
    rounds = Rounds()
    rounds.publish("one")
    waiting: list[asyncio.Future[bool]] = []
    during(rounds, command, lambda: waiting.append(rounds.wait_stored()))
    await rounds.round()
    assert rounds.memcached.messages() == ["one"]
    assert waiting[0].result()
    assert rounds.replicator.wait_stored("main") is None


async def test_reading_during_a_round_is_a_new_read() -> None:
    """The one under way may have been answered before another server stored something."""
    rounds = Rounds()
    rounds.memcached.put(key(), value(note(1)))
    first = rounds.wait_read()
    later: list[asyncio.Future[bool]] = []
    during(rounds, "get", lambda: later.append(rounds.wait_read()))
    await rounds.round()
    assert first.result()
    assert not later[0].done()
    rounds.memcached.put(key(), value(note(1), note(2)))
    await rounds.round()
    assert later[0].result()
    assert rounds.recents() == ["m1", "m2"]


async def test_unchanged_value_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds()
    decoded = []

    def counted(value: bytes, topic: str, now: float) -> Stored:
        decoded.append(value)
        return decode(value, topic, now)

    monkeypatch.setattr("aionotify.cache.merge.decode", counted)
    rounds.memcached.put(key(), value(note(1)))
    for _ in range(3):
        rounds.wait_read()
        await rounds.round()
        rounds.publish("own")
        await rounds.round()
    assert len(decoded) == 1
