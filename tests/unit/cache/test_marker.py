"""The clean-shutdown marker, and how servers on one memcached notice each other."""

import asyncio
import json
import logging
import time

import pytest

import aionotify.cache
from aionotify.cache.format import MARKER, MAX_PARTS, PRESENCE, Legacy, part_key
from aionotify.cache.marker import MARKER_TTL, NOTICE_DELAY, Presence, leave_legacy, take_legacy
from aionotify.cache.memcached import Memcached
from aionotify.errors import CacheError
from tests.support import MemcachedProcess, eventually
from tests.support.builders import Clock
from tests.support.cache_nodes import NOW, put, running_node
from tests.support.cache_rounds import ScriptedMemcached
from tests.support.fault_server import Command, FakeMemcached
from tests.support.memcached_tools import connect

ID = NOW * 1000


def scripted(fake: ScriptedMemcached) -> Memcached:
    """Return the stand-in as what it stands in for."""
    return fake  # type: ignore[return-value]


async def take(memcached: MemcachedProcess) -> Legacy | None:
    """Take the marker, as a server does that starts."""
    one = await connect(memcached)
    try:
        return await take_legacy(one, asyncio.get_running_loop().time() + 5)
    finally:
        await one.close()


def stored(memcached: MemcachedProcess, key: bytes = MARKER) -> bool:
    """Return whether memcached has a key."""
    return memcached.command(b"get " + key) != b"END\r\n"


def expiry(memcached: MemcachedProcess, key: bytes) -> float:
    """Return the seconds after which memcached forgets a key."""
    dump = memcached.command(b"lru_crawler metadump all").splitlines()
    line = next(
        each for each in dump if each.startswith(b"key=" + key.replace(b":", b"%3A") + b" ")
    )
    return int(dict(part.split(b"=") for part in line.split())[b"exp"]) - time.time()


# -------------------------------------------------------------------------------------- the marker


async def test_marker_is_taken_once(memcached: MemcachedProcess) -> None:
    one = await connect(memcached)
    await leave_legacy(one, ID, {"main": ID + 1, "other": ID + 2})
    await one.close()
    assert await take(memcached) == Legacy(ID, {"main": ID + 1, "other": ID + 2})
    assert not stored(memcached)
    assert await take(memcached) is None


async def test_marker_without_topics_is_taken(memcached: MemcachedProcess) -> None:
    one = await connect(memcached)
    await leave_legacy(one, ID, {})
    await one.close()
    assert await take(memcached) == Legacy(ID, {})


async def test_marker_expires(memcached: MemcachedProcess) -> None:
    """A server that ran in between without this memcached could not have removed it."""
    async with running_node(memcached) as node:
        await node.publish("a", stored=True)
    for key in (MARKER, part_key(0)):
        assert MARKER_TTL - 10 < expiry(memcached, key) <= MARKER_TTL + 1


async def test_marker_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """After all that it promises: if the server is killed in between, it must not be there."""
    fake = ScriptedMemcached()
    last_ids = {f"{number:064}": ID for number in range(30_000)}
    keys: list[bytes] = []
    put, delete = fake.put, fake.delete

    def store(key: bytes, value: bytes) -> None:
        keys.append(key)
        put(key, value)

    async def remove(key: bytes) -> None:
        keys.append(key)
        await delete(key)

    monkeypatch.setattr(fake, "put", store)
    monkeypatch.setattr(fake, "delete", remove)
    await leave_legacy(scripted(fake), ID, last_ids)
    assert keys == [part_key(0), part_key(1), part_key(2), PRESENCE, MARKER]
    assert await take_legacy(scripted(fake), 1e9) == Legacy(ID, last_ids)


async def test_too_many_topics_leave_no_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lacks a topic would hide a gap there."""
    monkeypatch.setattr("aionotify.cache.format.MAX_VALUE", 100)
    fake = ScriptedMemcached()
    last_ids = {f"{number:064}": ID for number in range(MAX_PARTS + 1)}
    with pytest.raises(CacheError, match="the last ids of 65 topics are too many"):
        await leave_legacy(scripted(fake), ID, last_ids)
    assert MARKER not in fake.values


WRONG = {
    "no JSON": (b"stopped", {}),
    "too many parts": (b'{"before":1,"parts":65}', {}),
    "an id from the far future": (b'{"before":9007199254740991,"parts":0}', {}),
    "a missing part": (b'{"before":1,"parts":2}', {0: b'{"main":1}'}),
    "a part that is no JSON": (b'{"before":1,"parts":1}', {0: b"main"}),
    "a part that is a list": (b'{"before":1,"parts":1}', {0: b"[1]"}),
    "a last id that is a text": (b'{"before":1,"parts":1}', {0: b'{"main":"1"}'}),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_wrong_marker_is_ignored(
    memcached: MemcachedProcess, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is removed, one warning says so, and memcached is used all the same."""
    marker, parts = WRONG[kind]
    put(memcached, marker, MARKER)
    for number, part in parts.items():
        put(memcached, part, part_key(number))
    with caplog.at_level(logging.INFO, "aionotify"):
        async with running_node(memcached) as node:
            assert node.cache.connected
            assert not node.complete(1)
            assert not stored(memcached)
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert lines[0].startswith("ignoring the clean-shutdown marker in memcached: ")
    assert len(lines[0]) < 250


async def test_marker_is_removed_before_serving(memcached: MemcachedProcess) -> None:
    """If this server crashes, the next one must not take the marker for its promise."""
    async with running_node(memcached) as node:
        await node.publish("a", stored=True)
    assert stored(memcached)
    async with running_node(memcached) as node:
        assert not stored(memcached)


async def test_check_removes_the_marker(memcached: MemcachedProcess) -> None:
    """Another server has stopped; this one goes on, and may crash."""
    async with running_node(memcached):
        put(memcached, b'{"before":1,"parts":0}', MARKER)
        await eventually(lambda: not stored(memcached), 3, "the marker is removed")


@pytest.mark.parametrize("reads", [True, False])
async def test_round_removes_the_marker(
    memcached: MemcachedProcess, reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a notification is stored, of which the marker knows nothing."""
    monkeypatch.setattr(aionotify.cache, "CHECK_INTERVAL", 60)
    async with running_node(memcached) as node:
        put(memcached, b'{"before":1,"parts":0}', MARKER)
        if reads:
            await node.broker.refresh("main")
        else:
            await node.publish("a", stored=True)
        assert not stored(memcached)


async def test_slow_marker_does_not_delay_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each part may take almost as long as the time-out of a command."""
    monkeypatch.setattr(aionotify.cache, "START_TIMEOUT", 0.5)

    async def slow(command: Command) -> None:
        await asyncio.sleep(0.1)
        await command.server.obey(command)

    async with FakeMemcached(slow, spare_probe=True) as fake:
        fake.values[MARKER] = b'{"before":1,"parts":64}', 1
        for number in range(64):
            fake.values[part_key(number)] = b"{}", 1
        started = time.monotonic()
        async with running_node(fake) as node:
            assert time.monotonic() - started < 0.8
            assert not node.cache.connected
            fake.fault = None
            await eventually(lambda: node.cache.connected, 3, "it is connected in the background")
        assert "reading the clean-shutdown marker took too long" in caplog.text


# ------------------------------------------------------------------------------------ other servers


async def test_server_alone_notices_nobody(clock: Clock) -> None:
    """Neither itself nor the server before it, which may have crashed."""
    fake, presence = ScriptedMemcached(), Presence()
    await Presence().check(scripted(fake))
    for _ in range(3):
        await presence.check(scripted(fake))
    assert presence.other_seen_at == 0
    assert presence.uncertain_before == 0


async def test_servers_notice_each_other(clock: Clock) -> None:
    fake, one, two = ScriptedMemcached(), Presence(), Presence()
    for _ in range(2):
        for each in (one, two):
            clock.now += 0.5
            await each.check(scripted(fake))
    assert two.other_seen_at == clock.now
    assert one.other_seen_at == clock.now - 0.5


async def test_past_beside_another_server_is_uncertain(clock: Clock) -> None:
    """Until it was seen last, and for as long as it may have been there without being seen."""
    fake, one = ScriptedMemcached(), Presence()
    await one.check(scripted(fake))
    fake.put(PRESENCE, b"other")
    await one.check(scripted(fake))
    seen = clock.now
    assert one.uncertain_before == int(seen * 1_000_000)
    clock.now += 60
    await one.check(scripted(fake))
    assert one.uncertain_before == int((seen + NOTICE_DELAY) * 1_000_000)


async def test_marker_beside_another_server_promises_less(memcached: MemcachedProcess) -> None:
    """What that one has published may have expired unread."""
    async with running_node(memcached) as node:
        (first,) = await node.publish("a", stored=True)
        await node.check()
        put(memcached, b"other", PRESENCE)
        await node.check()
        seen = node.cache._presence.other_seen_at
    answer = memcached.command(b"get " + MARKER).split(b"\r\n")[1]
    assert json.loads(answer)["before"] >= int(seen * 1_000_000) > first


async def test_stop_leaves_no_name(memcached: MemcachedProcess) -> None:
    """The next server would take it for another one beside it."""
    async with running_node(memcached) as node:
        await node.check()
        assert stored(memcached, PRESENCE)
    assert not stored(memcached, PRESENCE)
