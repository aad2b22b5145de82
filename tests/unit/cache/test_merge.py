"""Merging a history with its value in memcached: what is taken over, ignored, and written."""

import itertools
import logging
import time

import pytest

from tests.support import MemcachedProcess, eventually, turning_loop
from tests.support.builders import Clock
from tests.support.cache_nodes import CacheNode, key, note, put, running_node, value


def entry(id: bytes = b"1", time: bytes = b"1", message: bytes = b'"x"') -> bytes:
    """Return a value with one entry that has these members."""
    members = b'"id":%b,"time":%b,"message":%b' % (id, time, message)
    return b'{"notifications":[{%b}]}' % members


# --------------------------------------------------------------------------------------- in memory


def test_unused_topic_has_no_recents() -> None:
    assert CacheNode().recents() == []


async def test_recents_are_the_newest_oldest_first() -> None:
    node = CacheNode()
    node.add(*map(note, range(8)))
    assert node.recents() == ["m3", "m4", "m5", "m6", "m7"]


async def test_topics_are_separate() -> None:
    node = CacheNode()
    node.add(note(1), note(2, topic="other"))
    assert (node.recents(), node.recents("other")) == (["m1"], ["m2"])


async def test_recents_can_be_changed() -> None:
    """The list belongs to the caller."""
    node = CacheNode()
    node.add(note(1))
    node.broker.open("main").history.recent(5, 0).clear()
    assert node.recents() == ["m1"]


async def test_each_notification_expires_by_itself(clock: Clock) -> None:
    node = CacheNode()
    node.add(note(1, age=3000), note(2, age=1000))
    clock.now += 599
    assert node.recents() == ["m1", "m2"]
    clock.now += 1
    assert node.recents() == ["m2"]
    clock.now += 2000
    assert node.recents() == []


async def test_expired_notification_makes_no_room(clock: Clock) -> None:
    """An older one that was pushed out does not come back."""
    node = CacheNode(limit=2)
    node.add(*(note(number, age=3600 - number) for number in range(3)))
    clock.now += 1
    assert node.recents() == ["m2"]


# ----------------------------------------------------------------------------------- taken over


async def test_stored_is_known_after_a_refresh(memcached: MemcachedProcess) -> None:
    put(memcached, value(note(1), note(2)))
    async with running_node(memcached) as node:
        await node.broker.refresh("main")
        assert node.recents() == ["m1", "m2"]


async def test_newest_are_those_with_the_highest_ids(memcached: MemcachedProcess) -> None:
    """Whatever their order in the value."""
    put(memcached, value(*map(note, (5, 1, 7, 3, 6, 2, 4))))
    async with running_node(memcached) as node:
        await node.broker.refresh("main")
        assert node.recents() == ["m3", "m4", "m5", "m6", "m7"]


async def test_recents_are_the_newest_of_the_union(memcached: MemcachedProcess) -> None:
    async with running_node(memcached) as node:
        node.add(*map(note, (3, 5, 7)))
        put(memcached, value(*map(note, (1, 2, 4, 6, 8))))
        await node.broker.refresh("main")
        assert node.recents() == ["m4", "m5", "m6", "m7", "m8"]
        await eventually(lambda: memcached.messages() == ["m4", "m5", "m6", "m7", "m8"])


async def test_notification_in_both_is_shown_once(memcached: MemcachedProcess) -> None:
    async with running_node(memcached) as node:
        node.add(note(1))
        await eventually(lambda: memcached.messages() == ["m1"])
        for _ in range(3):
            await node.broker.refresh("main")
        assert node.recents() == ["m1"]


async def test_notification_twice_in_a_value_is_shown_once(memcached: MemcachedProcess) -> None:
    async with running_node(memcached) as node:
        node.add(note(0))
        put(memcached, value(note(1), note(1)))
        await node.broker.refresh("main")
        assert node.recents() == ["m0", "m1"]


async def test_expired_notification_is_not_taken_over(memcached: MemcachedProcess) -> None:
    put(memcached, value(note(1, age=3601), note(2, age=10), floor=5), key("other"))
    async with running_node(memcached) as node:
        node.hub.forgotten.restore(0, {"other": note(2).id})
        history = node.broker.open("other").history
        await node.broker.refresh("other")
        assert len(history) == 1, "it would be dropped only later"
        assert node.recents("other") == ["m2"]
        assert not node.complete(5, "other")
        assert node.complete(note(1).id, "other")


async def test_older_value_removes_nothing(memcached: MemcachedProcess) -> None:
    async with running_node(memcached) as node:
        node.add(*map(note, (4, 5, 6)))
        await eventually(lambda: memcached.messages() == ["m4", "m5", "m6"])
        put(memcached, value(*map(note, (1, 2, 3))))
        await node.broker.refresh("main")
        assert node.recents() == ["m2", "m3", "m4", "m5", "m6"]


async def test_long_value_is_cut_to_the_newest(memcached: MemcachedProcess) -> None:
    put(memcached, value(*map(note, range(2000))))
    async with running_node(memcached) as node:
        async with turning_loop():
            await node.broker.refresh("main")
        assert node.recents() == [f"m{number}" for number in range(1995, 2000)]


@pytest.mark.parametrize("limit", [5, 100])
async def test_huge_value_does_not_block(memcached: MemcachedProcess, limit: int) -> None:
    """16,000 notifications, half of them expired."""
    notes = [note(number, "x", age=3601 if number < 8000 else 0) for number in range(16_000)]
    put(memcached, value(*notes))
    async with running_node(memcached, limit=limit) as node:
        async with turning_loop(0.4):
            await node.broker.refresh("main")
        assert len(node.recents()) == limit


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_notifications_of_one_id_have_one_order(
    memcached: MemcachedProcess, order: tuple[int, ...]
) -> None:
    """Two servers may publish within one microsecond."""
    async with running_node(memcached, limit=2) as node:
        for number in order:
            put(memcached, value(note(1, f"from server {number}")))
            await node.broker.refresh("main")
        assert node.recents() == ["from server 1", "from server 2"]


async def test_unknown_floor_is_a_gap(memcached: MemcachedProcess) -> None:
    """Another server has published something that it could not store: nothing else tells."""
    async with running_node(memcached) as node:
        (first,) = await node.publish("a", stored=True)
        assert node.complete(first)
        own = node.broker.open("main").history.recent(5, 0)[0].notification
        put(memcached, value(own, floor=first + 1))
        await node.broker.refresh("main")
        assert node.recents() == ["a"]
        assert not node.complete(first)
        assert node.complete(first + 1)


async def test_own_floor_is_no_gap(memcached: MemcachedProcess) -> None:
    """The value of a topic with many notifications begins after one of our own."""
    async with running_node(memcached) as node:
        ids = await node.publish(*map(str, range(9)), stored=True)
        memcached.command(b"delete " + key(), b"DELETED\r\n")
        kept = node.broker.open("main").history.recent(5, 0)
        put(memcached, value(*(each.notification for each in kept), floor=ids[3]))
        await node.broker.refresh("main")
        assert all(map(node.complete, ids))


async def test_ids_continue_above_the_stored(memcached: MemcachedProcess) -> None:
    """Also above the floor: a client may have that as its position."""
    ahead = int((time.time() + 60) * 1_000_000)
    for stored, highest in ((value(floor=ahead), ahead), (value(note(60 * 10**9)), 0)):
        put(memcached, stored)
        async with running_node(memcached) as node:
            await node.broker.refresh("main")
            (id,) = await node.publish("b")
            assert id > max(highest, node.broker.open("main").history.complete_since)


# ------------------------------------------------------------------------------------- unreadable


UNREADABLE = {
    "nothing": b"",
    "no JSON": b"(dp0\nS'pickled'\np1\n.",
    "half a value": value(note(1))[:-3],
    "not UTF-8": entry(message=b'"\xff\xfe"'),
    "a list": b"[]",
    "a number": b"5",
    "a text": b'"notifications"',
    "null": b"null",
    "without the key": b'{"recents":[]}',
    "of another type": b'{"notifications":5}',
    "an object of entries": b'{"notifications":{"id":1}}',
    "entries that are texts": b'{"notifications":["id"]}',
    "entries that are lists": b'{"notifications":[[1,2,"x"]]}',
    "entries that are null": b'{"notifications":[null]}',
    "an entry without a time": b'{"notifications":[{"id":1,"message":"x"}]}',
    "an id that is a text": entry(id=b'"1"'),
    "an id that is true": entry(id=b"true"),
    "an id with a point": entry(id=b"1.0"),
    "an id that is no number": entry(id=b"NaN"),
    "a negative id": entry(id=b"-1"),
    "id 0": entry(id=b"0"),
    "an id from the far future": entry(id=b"9007199254740991"),
    "an id of many digits": entry(id=b"9" * 5000),
    "a negative time": entry(time=b"-1"),
    "a time of many digits": entry(time=b"9" * 400),
    "a time without an end": entry(time=b"Infinity"),
    "a message that is a number": entry(message=b"5"),
    "a lone surrogate": entry(message=b'"\\ud800"'),
    "deep nesting": b"[" * 500_000,
    "deep nesting in an entry": b'{"notifications":[' + b'{"id":' * 100_000,
    "a good entry and a bad one": value(note(1))[:-2] + b"," + entry(id=b"-1")[19:],
    "a rank below the id": b'{"notifications":[{"id":2,"rank":1,"time":1,"message":"x"}]}',
    "a negative floor": b'{"floor":-1,"notifications":[]}',
}


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_unreadable_value_is_logged_once_and_overwritten(
    memcached: MemcachedProcess, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(memcached, UNREADABLE[kind])
    with caplog.at_level(logging.INFO, "aionotify"):
        async with running_node(memcached) as node:
            for _ in range(3):
                await node.broker.refresh("main")
            assert node.recents() == []
            assert node.cache.connected
            node.add(note(7))
            await eventually(lambda: b"m7" in memcached.command(b"get " + key()))
            assert memcached.messages() == ["m7"]
            assert node.cache.connected
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert lines[0].startswith("aionotify:1:recent:main in memcached holds no recent notifications")
    assert len(lines[0]) < 500


async def test_flags_of_another_client_are_no_failure(memcached: MemcachedProcess) -> None:
    put(memcached, b"\x80\x04N.", flags=1)
    async with running_node(memcached) as node:
        await node.broker.refresh("main")
        assert node.cache.connected
        node.add(note(1))
        await eventually(lambda: b"m1" in memcached.command(b"get " + key()))
        assert memcached.messages() == ["m1"]


async def test_unreadable_value_removes_nothing(memcached: MemcachedProcess) -> None:
    async with running_node(memcached) as node:
        node.add(note(1))
        await eventually(lambda: memcached.messages() == ["m1"])
        put(memcached, b"garbage")
        await node.broker.refresh("main")
        assert node.recents() == ["m1"]
        node.add(note(2))
        await eventually(lambda: b"m2" in memcached.command(b"get " + key()))
        assert memcached.messages() == ["m1", "m2"]
