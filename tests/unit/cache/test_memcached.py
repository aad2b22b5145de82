"""A connection to one memcached: storing, connecting, probing several hosts."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from aionotify.cache.format import key
from aionotify.cache.memcached import Entry, Memcached, Outcome, Write, probe
from aionotify.cache.replicator import MAX_BULK
from aionotify.errors import CacheError
from aionotify.net import Address
from tests.support import MemcachedProcess, eventually, free_port, turning_loop
from tests.support.fault_server import FAULTS, Command, FakeMemcached, Fault, refuses_values
from tests.support.memcached_tools import KEY, OTHER, answers, connect

MEBIBYTE = 1024 * 1024


@pytest.fixture
def black_hole() -> Iterator[socket.socket]:
    """Listen on a port, but never accept: further connections get no answer at all (Linux).

    The kernel completes as many connections as the backlog holds, and drops the first packet of
    all others.
    """
    with socket.socket() as listener, socket.socket() as one, socket.socket() as two:
        listener.bind(("127.0.0.99", 0))
        listener.listen(0)
        for each in (one, two):
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener


# ------------------------------------------------------------------------------------- storing


async def test_stored_value_can_be_read(memcached: MemcachedProcess) -> None:
    one = await connect(memcached)
    assert await one.get([KEY]) == {}
    assert await one.store([Write(KEY, b"first", 60, None)]) == [Outcome(True)]
    assert (await one.get([KEY]))[KEY].value == b"first"
    await one.set(KEY, b"second", 60)
    assert (await one.get([KEY]))[KEY].value == b"second"
    await one.close()


async def test_many_keys_are_one_round_trip() -> None:
    """All commands are sent before the first response is read."""
    async with FakeMemcached() as fake:
        one = await connect(fake)
        fake.latency = 0.05
        started = time.monotonic()
        writes = [Write(b"k%d" % number, b"%d" % number, 60, None) for number in range(64)]
        assert await one.store(writes) == [Outcome(True)] * 64
        found = await one.get([each.key for each in writes] + [b"missing"])
        assert {name: entry.value for name, entry in found.items()} == {
            each.key: each.value for each in writes
        }
        assert time.monotonic() - started < 0.4
        assert sum(each.startswith(b"gets ") for each in fake.commands) == 2
        await one.close()


async def test_many_long_keys_are_accepted(memcached: MemcachedProcess) -> None:
    """More than fit into the buffer that memcached has for a command (16 KiB)."""
    one = await connect(memcached)
    writes = [Write(key(f"{number:064}"), b"x", 60, None) for number in range(MAX_BULK)]
    assert await one.store(writes) == [Outcome(True)] * MAX_BULK
    found = await one.get([each.key for each in writes])
    assert list(found) == [each.key for each in writes]
    await one.close()


async def test_second_writer_stores_nothing(memcached: MemcachedProcess) -> None:
    one, two = await connect(memcached), await connect(memcached)
    theirs, ours = Write(KEY, b"theirs", 60, None), Write(KEY, b"ours", 60, None)
    assert await two.store([theirs]) == [Outcome(True)]
    assert await one.store([ours]) == [Outcome(False)]
    seen = (await one.get([KEY]))[KEY].cas
    assert await two.store([Write(KEY, b"theirs again", 60, seen)]) == [Outcome(True)]
    assert await one.store([Write(KEY, b"ours", 60, seen)]) == [Outcome(False)]
    entry = (await one.get([KEY]))[KEY]
    assert entry.value == b"theirs again"
    assert await one.store([Write(KEY, b"ours", 60, entry.cas)]) == [Outcome(True)]
    assert (await two.get([KEY]))[KEY].value == b"ours"
    await one.close()
    await two.close()


async def test_vanished_value_is_a_conflict(memcached: MemcachedProcess) -> None:
    """It is stored anew at the second attempt."""
    one = await connect(memcached)
    await one.set(KEY, b"first", 60)
    seen = (await one.get([KEY]))[KEY].cas
    memcached.command(b"delete " + KEY, b"DELETED\r\n")
    assert await one.store([Write(KEY, b"second", 60, seen)]) == [Outcome(False)]
    assert await one.get([KEY]) == {}
    assert await one.store([Write(KEY, b"second", 60, None)]) == [Outcome(True)]
    assert (await one.get([KEY]))[KEY].value == b"second"
    await one.close()


async def test_conflict_spares_the_others(memcached: MemcachedProcess) -> None:
    """The outcomes of one batch are independent, and in the order of the writes."""
    one = await connect(memcached)
    await one.set(OTHER, b"theirs", 60)
    writes = [Write(each, b"ours", 60, None) for each in (b"a", OTHER, b"b")]
    assert await one.store(writes) == [Outcome(True), Outcome(False), Outcome(True)]
    assert {k: e.value for k, e in (await one.get([b"a", OTHER, b"b"])).items()} == {
        b"a": b"ours",
        OTHER: b"theirs",
        b"b": b"ours",
    }
    await one.close()


async def test_value_vanishes_after_its_ttl(memcached: MemcachedProcess) -> None:
    one = await connect(memcached)
    assert await one.store([Write(KEY, b"first", 1, None)]) == [Outcome(True)]

    async def gone() -> bool:
        return not await one.get([KEY])

    await eventually(gone, 4, "the value has vanished")
    await one.close()


async def test_deleted_value_is_gone(memcached: MemcachedProcess) -> None:
    one = await connect(memcached)
    await one.set(KEY, b"value", 60)
    await one.delete(KEY)
    await one.delete(KEY)
    assert await one.get([KEY]) == {}
    await one.close()


async def test_large_value_is_refused(memcached: MemcachedProcess) -> None:
    """The connection stays usable, and the writes beside it are stored."""
    one = await connect(memcached)
    writes = [Write(KEY, b"x" * MEBIBYTE, 60, None), Write(OTHER, b"x", 60, None)]
    assert await one.store(writes) == [
        Outcome(False, "object too large for cache"),
        Outcome(True),
    ]
    assert list(await one.get([KEY, OTHER])) == [OTHER]
    await one.close()


async def test_full_memory_is_a_refusal() -> None:
    async with FakeMemcached(refuses_values, spare_probe=True) as fake:
        one = await connect(fake)
        assert await one.store([Write(KEY, b"value", 60, None)]) == [
            Outcome(False, "out of memory storing object")
        ]
        assert await one.get([KEY]) == {}
        await one.close()


# ---------------------------------------------------------------------------------- connecting


async def test_closing_leaves_no_connection_behind() -> None:
    async with FakeMemcached() as fake:
        connections = [await connect(fake) for _ in range(5)]
        assert fake.open_connections == 5
        for one in connections:
            await one.close()
        await eventually(lambda: fake.open_connections == 0, what="all are closed")


async def test_closed_connection_fails(memcached: MemcachedProcess) -> None:
    one = await connect(memcached)
    await one.close()
    with pytest.raises(CacheError, match="closed"):
        await one.get([KEY])


async def test_refused_connection_fails_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(CacheError, match="connection refused"):
        await Memcached.connect(Address("127.0.0.1", free_port()))
    assert time.monotonic() - started < 0.5


async def test_silent_host_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(CacheError, match="no answer within 1 s"):
            await Memcached.connect(Address("127.0.0.1", silent.getsockname()[1]))
        assert 0.9 < time.monotonic() - started < 1.5


async def test_lost_value_fails_the_probe() -> None:
    async def forgets(command: Command) -> None:
        await command.answer(b"END\r\n" if command.name == b"gets" else b"STORED\r\n")

    async with FakeMemcached(forgets) as fake:
        with pytest.raises(CacheError, match="a stored value could not be read back"):
            await connect(fake)
        await eventually(lambda: fake.open_connections == 0, what="the connection is closed")


@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_fails_the_probe(fault: Fault) -> None:
    async with FakeMemcached(fault) as fake:
        started = time.monotonic()
        async with turning_loop():
            with pytest.raises(CacheError):
                await connect(fake)
        assert time.monotonic() - started < 1.5
        await eventually(lambda: fake.open_connections == 0, what="the connection is closed")


async def test_second_address_is_tried(
    memcached: MemcachedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one refuses."""
    monkeypatch.setattr(socket, "getaddrinfo", answers("127.0.0.99", "127.0.0.1"))
    one = await Memcached.connect(Address("cache", memcached.port))
    assert await one.get([KEY]) == {}
    await one.close()


async def test_second_address_is_tried_after_a_black_hole(
    black_hole: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each address has a second of its own."""
    monkeypatch.setattr(socket, "getaddrinfo", answers("127.0.0.99", "127.0.0.1"))
    port = black_hole.getsockname()[1]
    async with FakeMemcached(port=port):
        started = time.monotonic()
        one = await Memcached.connect(Address("cache", port))
        assert one._client._pool._host == "127.0.0.1"
        assert 0.9 < time.monotonic() - started < 1.5
        await one.close()


async def test_cancelled_connect_closes() -> None:
    async with FakeMemcached() as fake:
        fake.latency = 9
        connecting = asyncio.create_task(connect(fake))
        await eventually(lambda: bool(fake.commands))
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await eventually(lambda: fake.open_connections == 0, what="the connection is closed")


# ------------------------------------------------------------------------------------- probing


async def test_first_reachable_host_is_used() -> None:
    refused = Address("127.0.0.1", free_port())
    async with FakeMemcached() as two, FakeMemcached() as three:
        addresses = [refused, *(Address(each.host, each.port) for each in (two, three))]
        found, failures = await probe(addresses)
        assert found is not None
        assert found.address == addresses[1]
        assert failures == f" ({refused}: connection refused)"
        assert not three.connected
        await found.close()


async def test_probe_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Address("127.0.0.1", silent.getsockname()[1])
        started = time.monotonic()
        found, failures = await probe([address] * 4, 0.2)
        assert found is None
        assert "gave up after 0.2 s, trying further hosts in the background" in failures
        assert time.monotonic() - started < 0.5


async def test_hosts_are_probed_without_an_end() -> None:
    """In the background there is no hurry: the last host is reached, however many are silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Address("127.0.0.1", silent.getsockname()[1])
        async with FakeMemcached() as fake:
            found, failures = await probe([address] * 3 + [Address(fake.host, fake.port)])
            assert found is not None
            assert failures.count("no answer within 1 s") == 3
            assert await found.get([KEY]) == {}
            await found.close()


async def test_entries_have_their_cas(memcached: MemcachedProcess) -> None:
    """Every change of a value has another number."""
    one = await connect(memcached)
    seen = set()
    for _ in range(3):
        await one.set(KEY, b"same", 60)
        entry = (await one.get([KEY]))[KEY]
        assert entry == Entry(b"same", entry.cas)
        seen.add(entry.cas)
    assert len(seen) == 3
    await one.close()
