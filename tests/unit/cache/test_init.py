"""The life of the cache: starting, losing memcached, finding it again."""

import asyncio
import logging
import socket
import time
from itertools import pairwise

import pytest

import aionotify.cache
import aionotify.cache.memcached
import aionotify.cache.replicator
from aionotify.net import Address
from tests.support import MemcachedProcess, eventually, turning_loop
from tests.support.cache_nodes import CacheNode, address_of, key, note, put, running_node, value
from tests.support.fault_server import (
    Command,
    FakeMemcached,
    always_conflicts,
    closes,
    never_answers,
)
from tests.support.memcached_tools import answers


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the levels of all log lines."""
    return [each.levelname for each in caplog.records]


# ---------------------------------------------------------------------------------------- starting


async def test_start_connects(
    memcached: MemcachedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "aionotify"):
        async with running_node(memcached) as node:
            assert node.cache.connected
    assert caplog.messages == [f"connected to memcached at 127.0.0.1:{memcached.port}"]


async def test_start_without_memcached_keeps_recents(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "aionotify"):
        async with running_node(None) as node:
            assert not node.cache.connected
            node.add(*map(note, range(8)))
            await node.broker.refresh("main")
            assert node.recents() == ["m3", "m4", "m5", "m6", "m7"]
            await node.publish("stored", stored=True)
    assert len(caplog.records) == 1
    assert "connection refused" in caplog.text
    assert "memcached is unavailable" in caplog.text
    assert "keeping recent notifications in memory, retrying in the background" in caplog.text


async def test_start_ends_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Three hosts accept and never answer: the fourth one is found in the background."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(aionotify.cache, "START_TIMEOUT", 0.3)
    monkeypatch.setattr(aionotify.cache.memcached, "CONNECT_TIMEOUT", 0.1)
    silent = [FakeMemcached(never_answers) for _ in range(3)]
    async with silent[0], silent[1], silent[2], FakeMemcached() as fourth:
        started = time.monotonic()
        with caplog.at_level(logging.INFO, "aionotify"):
            async with running_node(*silent, fourth) as node:
                assert time.monotonic() - started < 0.6
                assert not node.cache.connected
                await node.publish("a")
                async with turning_loop():
                    await eventually(lambda: node.cache.connected, 3, "the fourth is found")
                assert b'"a"' in fourth.values[key()][0]
        assert levels(caplog) == ["WARNING", "INFO"]
        assert "gave up after 0.3 s" in caplog.text
        assert caplog.messages[1].startswith(f"connected to memcached at {address_of(fourth)} (")


async def test_second_address_is_found_in_the_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first address of the name is a black hole, and takes all the time of the start."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(aionotify.cache, "START_TIMEOUT", 0.1)
    monkeypatch.setattr(aionotify.cache.memcached, "CONNECT_TIMEOUT", 0.2)

    monkeypatch.setattr(socket, "getaddrinfo", answers("127.0.0.99", "127.0.0.1"))
    async with (
        FakeMemcached() as fake,
        FakeMemcached(never_answers, host="127.0.0.99", port=fake.port) as hole,
    ):
        node = CacheNode(Address("cache", fake.port))
        await node.broker.start()
        assert not node.cache.connected
        await eventually(lambda: node.cache.connected, 3, "the second address is found")
        assert len(hole.connected) >= 2
        await node.broker.stop()


async def test_one_connection_is_enough() -> None:
    """However many read and publish, and none is left behind."""
    async with FakeMemcached() as fake:
        async with running_node(fake) as node:
            node.add(note(1))
            await asyncio.gather(*(node.broker.refresh(f"topic{number}") for number in range(100)))
            await node.publish("a", stored=True)
            assert fake.open_connections == 1
        await eventually(lambda: fake.open_connections == 0)


# ------------------------------------------------------------------------------------------- losing


async def test_idle_loss_is_noticed(memcached: MemcachedProcess) -> None:
    async with running_node(memcached) as node:
        memcached.kill()
        await eventually(lambda: not node.cache.connected, 2)


async def test_frozen_memcached_is_noticed(memcached: MemcachedProcess) -> None:
    async with running_node(memcached) as node:
        memcached.freeze()
        await eventually(lambda: not node.cache.connected, 2)
        memcached.thaw()


async def test_loss_noticed_by_a_read_is_recovered_from(
    memcached: MemcachedProcess,
    hasty: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is under way at that moment: the read wakes the loops."""
    monkeypatch.setattr(aionotify.cache, "WRITE_DELAY", 0)
    with caplog.at_level(logging.INFO, "aionotify"):
        async with running_node(memcached) as node:
            await node.publish("m1", stored=True)
            await eventually(lambda: not node.cache._work.is_set(), what="there is nothing to do")
            memcached.kill()
            await node.broker.refresh("main")
            assert not node.cache.connected
            assert node.recents() == ["m1"]
            memcached.start()
            await eventually(lambda: node.cache.connected, 3, "memcached is back")
            assert memcached.messages() == ["m1"]
    assert levels(caplog) == ["INFO", "WARNING", "INFO"]
    assert caplog.messages[1].startswith(f"lost memcached at 127.0.0.1:{memcached.port} (")
    assert caplog.messages[2].startswith(f"reconnected to memcached at 127.0.0.1:{memcached.port}")
    assert node.cache.errors == 1


@pytest.mark.parametrize("noticed_by", ["round", "check"])
@pytest.mark.parametrize("fault", [never_answers, closes])
async def test_loss_releases_all(
    noticed_by: str, fault: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever loop is the first to notice, all that wait are released at once."""
    hurry = 0.02 if noticed_by == "check" else 60
    monkeypatch.setattr(aionotify.cache, "CHECK_INTERVAL", hurry)
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 60)
    async with FakeMemcached(spare_probe=True) as fake, running_node(fake) as node:
        reached = asyncio.Event()

        async def fails(command: Command) -> None:
            reached.set()
            await fault(command)  # type: ignore[operator]

        fake.fault = fails
        if noticed_by == "check":
            await reached.wait()  # it holds the connection; the round must wait for its turn
        async with asyncio.timeout(2):
            await asyncio.gather(
                *(node.publish("x", topic=f"topic{n}", stored=True) for n in range(20)),
                *(node.broker.refresh(f"read{n}") for n in range(20)),
            )
        assert not node.cache.connected
        assert node.cache.errors == 1
        assert node.cache._replicator.unsaved == 20


async def test_refused_write_is_made_up_for() -> None:
    """A publisher is answered as soon as memcached is lost, and its notification is kept."""
    async with FakeMemcached(spare_probe=True) as fake, running_node(fake) as node:

        async def refuses_cas(command: Command) -> None:
            if command.name in (b"add", b"cas"):
                await closes(command)
            await fake.obey(command)

        fake.fault = refuses_cas
        async with asyncio.timeout(1):
            await node.publish("a", stored=True)
        assert not node.cache.connected
        assert node.recents() == ["a"]
        fake.fault = None
        await eventually(lambda: node.cache.connected, 3)
        assert b'"a"' in fake.values[key()][0]


async def test_liar_is_given_up(
    hasty: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It claims that every value has changed: it is lost, and does not count as found again."""
    monkeypatch.setattr(aionotify.cache.replicator, "MERGE_ATTEMPTS", 30)
    async with (
        FakeMemcached(always_conflicts, spare_probe=True) as fake,
        running_node(fake) as node,
    ):
        async with asyncio.timeout(2), turning_loop():
            await node.publish("a", stored=True)
        assert not node.cache.connected
        assert "changed 30 times in a row" in caplog.text
        assert node.recents() == ["a"]
        await eventually(lambda: len(fake.connected) == 3, what="it was probed again")
        assert not node.cache.connected
        assert node.cache.errors == 1


# ------------------------------------------------------------------------------------ finding again


async def test_outage_is_merged(memcached: MemcachedProcess, hasty: None) -> None:
    """What was published meanwhile, with what other servers have stored."""
    async with running_node(memcached) as node:
        node.add(note(1), note(2))
        await eventually(lambda: memcached.messages() == ["m1", "m2"])
        memcached.kill()
        await node.broker.refresh("main")
        node.add(note(3), note(5), note(7), note(9, topic="other"))
        memcached.start()
        put(memcached, value(note(4), note(6)))
        await eventually(lambda: node.cache.connected, 3, "memcached is back")
        await node.broker.refresh("main")
        assert node.recents() == memcached.messages()
        assert memcached.messages()[-3:] == ["m5", "m6", "m7"]
        assert set(memcached.messages()) <= {f"m{number}" for number in range(1, 8)}
        assert memcached.messages("other") == ["m9"]


async def test_restarted_memcached_is_filled(memcached: MemcachedProcess) -> None:
    """It answers at every check, as if nothing had been: but it is empty."""
    async with running_node(memcached) as node:
        node.add(*map(note, range(7)))
        await eventually(lambda: memcached.messages()[-1:] == ["m6"])
        memcached.kill()
        memcached.start()
        await eventually(lambda: memcached.messages() != [], 4, "something is stored again")
        assert memcached.messages() == ["m2", "m3", "m4", "m5", "m6"]


async def test_late_memcached_is_filled(memcached: MemcachedProcess, hasty: None) -> None:
    memcached.kill()
    async with running_node(memcached) as node:
        node.add(*map(note, range(7)))
        memcached.start()
        await eventually(lambda: node.cache.connected, 3)
        assert memcached.messages() == ["m2", "m3", "m4", "m5", "m6"]


async def test_probing_slows_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time in between doubles, up to a maximum."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 0.05)
    monkeypatch.setattr(aionotify.cache, "RETRY_LAST", 0.2)
    async with FakeMemcached(closes) as fake, running_node(fake):
        await eventually(lambda: len(fake.connected) == 6)
        pauses = [later - sooner for sooner, later in pairwise(fake.connected)]
        wanted = [0.05, 0.1, 0.2, 0.2, 0.2]
        assert all(w <= pause < w + 0.1 for pause, w in zip(pauses, wanted, strict=True))


def test_cache_needs_no_loop() -> None:
    """It is made before the application runs."""
    assert not CacheNode().cache.connected
