"""Stopping: everything is written and marked within the time there is, or one line says why not."""

import asyncio
import json
import logging
import time

import pytest

import aionotify.cache
from aionotify.cache.format import MARKER, PRESENCE, part_key
from aionotify.cache.replicator import MAX_BULK
from aionotify.notification import Draft
from tests.support import MemcachedProcess, eventually, turning_loop
from tests.support.cache_nodes import CacheNode, address_of, key, note, running_node
from tests.support.fault_server import Command, FakeMemcached, closes, never_answers

MANY = 20_000


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings in the log."""
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def stored(memcached: MemcachedProcess, key: bytes) -> bytes:
    """Return a value, or nothing."""
    return memcached.command(b"get " + key).partition(b"\r\n")[2].removesuffix(b"\r\nEND\r\n")


async def test_stop_writes_what_is_unsaved(memcached: MemcachedProcess) -> None:
    async with running_node(memcached) as node:
        node.add(*map(note, range(3)), note(9, topic="other"))
    assert memcached.messages() == ["m0", "m1", "m2"]
    assert memcached.messages("other") == ["m9"]


async def test_stop_takes_no_longer_than_the_write(memcached: MemcachedProcess) -> None:
    async with running_node(memcached) as node:
        node.add(note(1))
        started = time.monotonic()
        await node.broker.stop()
        assert time.monotonic() - started < 0.5
    assert memcached.messages() == ["m1"]


async def test_stop_is_done_once(
    memcached: MemcachedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_node(memcached) as node:
        await node.publish("a")
        for _ in range(3):
            await node.broker.stop()
        await asyncio.wait_for(node.broker.refresh("main"), 1)
        await asyncio.wait_for(node.publish("late", stored=True), 1)
    assert warnings(caplog) == []


async def test_many_topics_are_stored_and_marked(
    memcached: MemcachedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20,000 of them, none of which is written when the server is told to stop.

    That takes 0.5 s of the processor, and is judged by that of publishing them: the speed of the
    machine, coverage and other processes do not count.
    """
    monkeypatch.setattr(aionotify.cache, "STOP_TIMEOUT", 9)
    monkeypatch.setattr(aionotify.cache, "WRITE_DELAY", 60)  # publishing takes several turns
    node = CacheNode(address_of(memcached))
    await node.broker.start()
    drafts = [Draft(f"topic{number}", f"m{number}", 6) for number in range(MANY)]
    began = time.process_time()
    published = await node.broker.publish(drafts, wait_stored=False)
    publishing = time.process_time() - began
    assert node.cache._replicator.unsaved == MANY
    began = time.process_time()
    async with turning_loop(0.3):
        await node.broker.stop()
    assert time.process_time() - began < 3 * publishing, "usually 0.7 to 1.1 times"
    assert memcached.statistic("cmd_get") < MANY * 1.1
    assert node.cache._replicator.unsaved == 0
    assert memcached.statistic("curr_items") >= MANY
    assert memcached.messages("topic0") == ["m0"]
    assert memcached.messages(f"topic{MANY - 1}") == [f"m{MANY - 1}"]
    parts = json.loads(stored(memcached, MARKER))["parts"]
    last_ids: dict[str, int] = {}
    for number in range(parts):
        last_ids |= json.loads(stored(memcached, part_key(number)))
    assert last_ids.items() >= {(each.topic, each.id) for each in published}


async def test_next_server_knows_every_topic(memcached: MemcachedProcess) -> None:
    """Of each, the last id: from there on, nothing is missing."""
    async with running_node(memcached) as node:
        ids = [(await node.publish("x", topic=f"topic{number}"))[0] for number in range(300)]
        quiet = node.broker.open("quiet").history.last_id
    async with running_node(memcached) as node:
        for number, id in enumerate(ids):
            await node.broker.refresh(f"topic{number}")
            assert node.complete(id, f"topic{number}")
            assert not node.complete(id - 1, f"topic{number}")
        assert node.complete(quiet, "quiet")


async def test_ids_continue_although_the_clock_does_not(memcached: MemcachedProcess) -> None:
    """The last ids are ahead of the clock, and memcached has lost the notifications themselves."""
    async with running_node(memcached) as node:
        node.broker._ids.advance(int((time.time() + 60) * 1_000_000))
        (last,) = await node.publish("x", topic="other", stored=True)
    memcached.command(b"delete " + key("other"), b"DELETED\r\n")
    async with running_node(memcached) as node:
        (id,) = await node.publish("y", topic="other")
        assert id > last


async def test_stop_in_an_outage_that_is_over_writes_and_marks(
    memcached: MemcachedProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would have been probed again in a minute."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 60)
    async with running_node(memcached) as node:
        await node.publish("before", stored=True)
        memcached.kill()
        await node.publish("during", stored=True)
        assert not node.cache.connected
        memcached.start()
        caplog.clear()
    assert memcached.messages() == ["before", "during"]
    assert json.loads(stored(memcached, part_key(0)))["main"]
    assert stored(memcached, MARKER)
    assert warnings(caplog) == []


async def test_stop_after_an_idle_outage_writes_and_marks(
    memcached: MemcachedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was published since, but memcached is empty."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 60)
    async with running_node(memcached) as node:
        await node.publish("before", stored=True)
        memcached.kill()
        await node.broker.refresh("main")
        assert node.cache._replicator.unsaved == 0
        memcached.start()
    assert memcached.messages() == ["before"]
    assert stored(memcached, MARKER)


@pytest.mark.parametrize("fault", [closes, never_answers])
async def test_stop_without_memcached_says_how_many(
    fault: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 60)
    async with FakeMemcached() as fake, running_node(fake) as node:
        await node.publish("x", topic="saved", stored=True)
        fake.fault = fault  # type: ignore[assignment]
        for number in range(7):
            await node.publish("x", topic=f"topic{number}", stored=True)
        caplog.clear()
        started = time.monotonic()
        await node.broker.stop()
        assert time.monotonic() - started < aionotify.cache.STOP_TIMEOUT + 0.2
    (line,) = warnings(caplog)
    assert line.startswith(
        "stopped with the recent notifications of 7 topics not written to memcached (unavailable ("
    )


async def test_stop_that_takes_too_long_says_how_many(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest of them, in the middle of the rounds."""
    monkeypatch.setattr(aionotify.cache, "STOP_TIMEOUT", 0.25)
    async with FakeMemcached() as fake:
        node = CacheNode(address_of(fake))
        await node.broker.start()
        fake.latency = 0.04
        node.add(*(note(number, topic=f"topic{number}") for number in range(1000)))
        started = time.monotonic()
        await node.broker.stop()
        assert time.monotonic() - started < 1
        written = sum(key(f"topic{number}") in fake.values for number in range(1000))
        assert 0 < written < 1000
        (line,) = warnings(caplog)
        number = int(line.split()[6])
        # The last round may have been stored, but not been confirmed.
        assert 1000 - written <= number <= 1000 - written + MAX_BULK
        assert line.endswith("topics not written to memcached (not finished within 0.25 s)")
        assert MARKER not in fake.values


async def test_stop_without_marker_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def no_marker(command: Command) -> None:
        if command.key == MARKER and command.name == b"set":
            await command.answer(b"SERVER_ERROR out of memory storing object\r\n")
        else:
            await command.server.obey(command)

    async with FakeMemcached(no_marker) as fake, running_node(fake) as node:
        await node.publish("x", stored=True)
    (line,) = warnings(caplog)
    assert line.startswith("stopped without a clean-shutdown marker in memcached (")
    assert "out of memory storing object" in line


async def test_stop_that_never_had_memcached_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """The log says so since the start."""
    async with running_node(None) as node:
        await node.publish("x", stored=True)
        caplog.clear()
    assert caplog.records == []


async def test_stop_with_frozen_memcached_ends_in_time(memcached: MemcachedProcess) -> None:
    async with running_node(memcached) as node:
        node.add(note(1))
        memcached.freeze()
        started = time.monotonic()
        await node.broker.stop()
        assert time.monotonic() - started < 2.5
        memcached.thaw()


async def test_stop_in_mid_read_leaves_no_connection() -> None:
    async with FakeMemcached(spare_probe=True) as fake:
        async with running_node(fake) as node:
            fake.fault = never_answers
            read = asyncio.create_task(node.broker.refresh("other"))
            await eventually(lambda: any(key("other") in each for each in fake.commands))
        await eventually(lambda: fake.open_connections == 0)
        await asyncio.wait_for(read, 1)


async def test_stop_in_mid_check_writes_and_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check may finish: a connection that is cancelled in mid-command is of no use."""
    monkeypatch.setattr(aionotify.cache, "CHECK_INTERVAL", 0.01)
    async with FakeMemcached() as fake:
        async with running_node(fake) as node:
            fake.latency = 0.05
            await eventually(lambda: b"gets " + MARKER + b" " + PRESENCE in fake.commands)
            node.add(note(1))
        assert b'"m1"' in fake.values[key()][0]
        assert MARKER in fake.values


@pytest.mark.parametrize("phase", [b"set " + PRESENCE, b"gets " + MARKER])
async def test_stop_while_reconnecting_leaves_no_connection(
    phase: bytes, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search is given up, and begins anew for the last write."""
    async with FakeMemcached() as fake:
        async with running_node(fake) as node:
            await node.publish("before", stored=True)
            fake.fault = closes
            await node.publish("during", stored=True)
            fake.fault = None
            fake.latency = 0.05
            fake.commands.clear()
            await eventually(lambda: any(each.startswith(phase) for each in fake.commands))
            fake.latency = 0.0
        assert b'"during"' in fake.values[key()][0]
        await eventually(lambda: fake.open_connections == 0, what="none is left behind")
