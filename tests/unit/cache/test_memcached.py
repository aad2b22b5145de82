"""One memcached: what it answers, and that nothing it does hangs, freezes or confuses us."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from aionotify.cache.memcached import OPERATION_TIMEOUT, Memcached
from aionotify.errors import CacheError
from aionotify.net import Address
from tests.support import MemcachedProcess, eventually, free_port, turning_loop
from tests.support.fault_server import (
    FAULTS,
    Command,
    FakeMemcached,
    Fault,
    another_key,
    errors,
    never_answers,
    no_token,
    refuses_values,
    says_stored_forever,
)

KEY = b"aionotify:1:recent:main"


async def connect(server: MemcachedProcess | FakeMemcached) -> Memcached:
    """A connection to `server`."""
    return await Memcached.connect(Address(server.host, server.port))


async def test_what_is_stored_comes_back(memcached: MemcachedProcess) -> None:
    one = await connect(memcached)
    nothing = await one.get(KEY)
    assert nothing.value is None
    assert await one.replace(KEY, b"first", 60, nothing.token)
    assert (await one.get(KEY)).value == b"first"
    await one.check()
    await one.close()


async def test_who_comes_second_stores_nothing(memcached: MemcachedProcess) -> None:
    one, two = await connect(memcached), await connect(memcached)
    nothing = await one.get(KEY)
    assert await two.replace(KEY, b"theirs", 60, nothing.token)
    assert not await one.replace(KEY, b"ours", 60, nothing.token)
    seen = await one.get(KEY)
    assert await two.replace(KEY, b"theirs again", 60, seen.token)
    assert not await one.replace(KEY, b"ours", 60, seen.token)
    seen = await one.get(KEY)
    assert seen.value == b"theirs again"
    assert await one.replace(KEY, b"ours", 60, seen.token)
    assert (await two.get(KEY)).value == b"ours"
    await one.close()
    await two.close()


async def test_a_vanished_value_is_stored_anew_at_the_second_try(
    memcached: MemcachedProcess,
) -> None:
    one = await connect(memcached)
    assert await one.replace(KEY, b"first", 60, None)
    seen = await one.get(KEY)
    memcached.command(b"delete " + KEY, b"DELETED\r\n")
    assert not await one.replace(KEY, b"second", 60, seen.token)
    assert await one.replace(KEY, b"second", 60, (await one.get(KEY)).token)
    assert (await one.get(KEY)).value == b"second"
    await one.close()


async def test_a_value_vanishes_when_its_time_is_over(memcached: MemcachedProcess) -> None:
    one = await connect(memcached)
    assert await one.replace(KEY, b"first", 1, None)

    async def gone() -> bool:
        return (await one.get(KEY)).value is None

    await eventually(gone, 4, "the value has vanished")
    await one.close()


async def test_closing_leaves_no_connection_behind() -> None:
    async with FakeMemcached() as fake:
        connections = [await connect(fake) for _ in range(5)]
        assert fake.open_connections == 5
        for one in connections:
            await one.close()
        await eventually(lambda: fake.open_connections == 0, what="all are closed")


async def test_an_operation_after_the_close_fails(memcached: MemcachedProcess) -> None:
    one = await connect(memcached)
    await one.close()
    with pytest.raises(CacheError, match="closed"):
        await one.check()


async def test_nobody_listening_is_known_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(CacheError, match="connection refused"):
        await Memcached.connect(Address("127.0.0.1", free_port()))
    assert time.monotonic() - started < 0.5


async def test_a_host_that_accepts_and_is_silent_is_given_up_within_a_second() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(CacheError, match="no answer within 1 s"):
            await Memcached.connect(Address("127.0.0.1", silent.getsockname()[1]))
        assert 0.9 < time.monotonic() - started < 1.5


async def test_a_value_that_does_not_come_back_is_no_memcached() -> None:
    async def forgets(command: Command) -> None:
        await command.answer(b"END\r\n" if command.name == b"gets" else b"STORED\r\n")

    async with FakeMemcached(forgets) as fake:
        with pytest.raises(CacheError, match="did not come back"):
            await connect(fake)
        await eventually(lambda: fake.open_connections == 0, what="the connection is closed")


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_passes_the_probe(fault: Fault) -> None:
    async with FakeMemcached(fault) as fake:
        started = time.monotonic()
        async with turning_loop():
            with pytest.raises(CacheError):
                await connect(fake)
        assert time.monotonic() - started < 1.5
        await eventually(lambda: fake.open_connections == 0, what="the connection is closed")


# ---------------------------------------------------------------------------------- names


Resolver = Callable[..., list[tuple[Any, ...]]]


def answers(*hosts: str) -> Resolver:
    """A name server that knows every name by these addresses."""

    def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, port, 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in hosts
        ]

    return look_up


@pytest.fixture
def hanging() -> Iterator[Resolver]:
    """A name server that does not answer before the end of the test."""
    end = threading.Event()

    def look_up(*_: object, **__: object) -> list[tuple[Any, ...]]:
        end.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    before = threading.active_count()
    yield look_up
    end.set()
    deadline = time.monotonic() + 5
    while threading.active_count() > before:
        assert time.monotonic() < deadline, "a thread was left behind"
        time.sleep(0.01)


async def test_an_address_that_does_not_answer_is_followed_by_the_next(
    memcached: MemcachedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answers("127.0.0.99", "127.0.0.1"))
    one = await Memcached.connect(Address("cache", memcached.port))
    await one.check()
    await one.close()


async def test_ipv4_goes_before_ipv6(
    memcached: MemcachedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where IPv6 leads nowhere, its time-out would be all the time there is."""
    monkeypatch.setattr(socket, "getaddrinfo", answers("::1", "127.0.0.1"))
    one = await Memcached.connect(Address("localhost", memcached.port))
    assert one._client._pool._host == "127.0.0.1"
    await one.close()


async def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answers())
    with pytest.raises(CacheError, match="the name has no address"):
        await Memcached.connect(Address("cache", 11211))


async def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(CacheError, match=r"not known \(Name or service not known\)"):
        await Memcached.connect(Address("cache", 11211))


@pytest.mark.parametrize("name", ["cache..internal", "c" * 64 + ".internal", ".cache"])
async def test_a_name_that_cannot_be_one_is_known_at_once(name: str) -> None:
    """The look-up fails with a UnicodeError, before any name server is asked."""
    started = time.monotonic()
    with pytest.raises(CacheError, match="the name is not known"):
        await Memcached.connect(Address(name, 11211))
    assert time.monotonic() - started < 0.5


async def test_a_name_server_that_hangs_is_given_up_within_a_second(
    hanging: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    started = time.monotonic()
    async with turning_loop():
        with pytest.raises(CacheError, match="no answer within 1 s"):
            await Memcached.connect(Address("cache", 11211))
    assert time.monotonic() - started < 1.5


def test_a_name_server_that_hangs_does_not_hold_up_the_end(
    hanging: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`asyncio.run` waits for the threads of the loop's own executor."""
    monkeypatch.setattr(socket, "getaddrinfo", hanging)

    async def give_up() -> None:
        with pytest.raises(CacheError):
            await Memcached.connect(Address("cache", 11211))

    started = time.monotonic()
    asyncio.run(give_up())
    assert time.monotonic() - started < 1.5


# --------------------------------------------------------------------------------- faults


OPERATIONS: dict[str, Callable[[Memcached], Awaitable[object]]] = {
    "get": lambda one: one.get(KEY),
    "add": lambda one: one.replace(KEY, b"value", 60, None),
    "cas": lambda one: one.replace(KEY, b"value", 60, 1),
    "version": lambda one: one.check(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_ends_the_operation_and_the_use_of_the_connection(
    fault: Fault, operation: str
) -> None:
    """In time, with the loop turning all the while; what may still come is not listened to."""
    async with FakeMemcached(fault, spare_probe=True) as fake:
        one = await connect(fake)
        started = time.monotonic()
        async with turning_loop():
            with pytest.raises(CacheError):
                await OPERATIONS[operation](one)
        assert time.monotonic() - started < OPERATION_TIMEOUT + 0.3
        assert fake.sent < 16 * 1024 * 1024, "the answer was taken in for as long as it came"
        commands = len(fake.commands)
        for again in OPERATIONS.values():
            with pytest.raises(CacheError):
                await again(one)
        assert len(fake.commands) == commands
        await one.close()
        await eventually(lambda: fake.open_connections == 0, what="the connection is closed")


@pytest.mark.parametrize("fault", [no_token, another_key, errors])
async def test_a_value_that_is_not_what_was_asked_for_is_refused(fault: Fault) -> None:
    async with FakeMemcached(fault, spare_probe=True) as fake:
        one = await connect(fake)
        with pytest.raises(CacheError):
            await one.get(KEY)
        await one.close()


async def test_a_refused_value_is_an_error_that_says_why() -> None:
    async with FakeMemcached(refuses_values, spare_probe=True) as fake:
        one = await connect(fake)
        with pytest.raises(CacheError, match="out of memory storing object"):
            await one.replace(KEY, b"value", 60, None)
        await one.close()


async def test_what_an_error_quotes_is_short() -> None:
    async def talks(command: Command) -> None:
        await command.answer(b"x" * 50_000 + b"\r\n")

    async with FakeMemcached(talks, spare_probe=True) as fake:
        one = await connect(fake)
        with pytest.raises(CacheError) as caught:
            await one.check()
        assert len(str(caught.value)) < 250
        await one.close()


async def test_all_who_wait_for_their_turn_are_released_by_one_failure() -> None:
    """The pool of aiomcache lets them wait for ever."""
    async with FakeMemcached(never_answers, spare_probe=True) as fake:
        one = await connect(fake)
        started = time.monotonic()
        results = await asyncio.gather(*(one.get(KEY) for _ in range(100)), return_exceptions=True)
        assert all(isinstance(each, CacheError) for each in results)
        assert time.monotonic() - started < OPERATION_TIMEOUT + 0.3
        assert fake.commands.count(b"gets " + KEY) == 1
        await one.close()


async def late(command: Command) -> None:
    """Answers a question of its own, after everybody has given up."""
    await asyncio.sleep(OPERATION_TIMEOUT + 0.1)
    await command.answer(b"VALUE " + command.key + b" 0 5 7\r\nstale\r\nEND\r\n")


async def test_a_late_answer_is_nobodys() -> None:
    async with FakeMemcached(late, spare_probe=True) as fake:
        one = await connect(fake)
        with pytest.raises(CacheError, match=r"no answer within 0\.5 s"):
            await one.get(KEY)
        fake.fault = None
        answered = fake.sent
        await eventually(lambda: fake.sent > answered, what="the late answer was given")
        with pytest.raises(CacheError):
            await one.get(b"aionotify:1:recent:other")
        await one.close()


async def test_the_answer_to_an_abandoned_call_is_nobodys() -> None:
    async with FakeMemcached(late, spare_probe=True) as fake:
        one = await connect(fake)
        call = asyncio.create_task(one.get(KEY))
        await eventually(lambda: b"gets " + KEY in fake.commands, what="the command is there")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        fake.fault = None
        answered = fake.sent
        await eventually(lambda: fake.sent > answered, what="the late answer was given")
        with pytest.raises(CacheError, match="abandoned"):
            await one.get(b"aionotify:1:recent:other")
        await one.close()


async def test_who_gives_up_waiting_for_his_turn_harms_nobody() -> None:
    async with FakeMemcached(spare_probe=True) as fake:
        one = await connect(fake)
        proceed = asyncio.Event()

        async def slow(command: Command) -> None:
            await proceed.wait()
            await fake.obey(command)

        fake.fault = slow
        first = asyncio.create_task(one.get(KEY))
        await eventually(lambda: b"gets " + KEY in fake.commands, what="the command is there")
        second = asyncio.create_task(one.get(KEY))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        proceed.set()
        assert await first == (None, None)
        await one.check()
        await one.close()


async def test_more_than_one_answer_is_seen_in_time() -> None:
    """Answers that come unasked are never taken for those to later commands of another kind."""
    async with FakeMemcached(says_stored_forever, spare_probe=True) as fake:
        one = await connect(fake)
        async with turning_loop():
            assert await one.get(KEY) == (None, None)
            with pytest.raises(CacheError):
                await one.check()
        await one.close()


async def test_a_connection_that_was_closed_meanwhile_is_not_made_again(
    memcached: MemcachedProcess,
) -> None:
    """It would lead to a memcached that was started again, and is empty: nobody would notice."""
    one = await connect(memcached)
    await asyncio.to_thread(memcached.kill)
    await asyncio.to_thread(memcached.start)
    with pytest.raises(CacheError):
        await one.check()
    await one.close()
