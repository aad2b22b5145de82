"""A memcached that fails in every way: nothing it does hangs, blocks or confuses the server."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from aionotify.cache.memcached import OPERATION_TIMEOUT, Memcached, Write
from aionotify.errors import CacheError
from tests.support import MemcachedProcess, eventually, turning_loop
from tests.support.fault_server import (
    FAULTS,
    Command,
    FakeMemcached,
    Fault,
    another_key,
    errors,
    never_answers,
    no_token,
    says_stored_forever,
)
from tests.support.memcached_tools import KEY, OTHER, connect

OPERATIONS: dict[str, Callable[[Memcached], Awaitable[object]]] = {
    "get": lambda one: one.get([KEY]),
    "get of two": lambda one: one.get([KEY, OTHER]),
    "add": lambda one: one.store([Write(KEY, b"value", 60, None)]),
    "cas": lambda one: one.store([Write(KEY, b"value", 60, 1), Write(OTHER, b"value", 60, None)]),
    "set": lambda one: one.set(KEY, b"value", 60),
    "delete": lambda one: one.delete(KEY),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_ends_the_connection(fault: Fault, operation: str) -> None:
    """In time, with the loop turning; a response that comes later is not listened to."""
    async with FakeMemcached(fault, spare_probe=True) as fake:
        one = await connect(fake)
        started = time.monotonic()
        async with turning_loop():
            with pytest.raises(CacheError):
                await OPERATIONS[operation](one)
        assert time.monotonic() - started < OPERATION_TIMEOUT + 0.3
        assert fake.sent < 16 * 1024 * 1024, "the response was read for as long as it came"
        commands = len(fake.commands)
        for again in OPERATIONS.values():
            with pytest.raises(CacheError):
                await again(one)
        assert len(fake.commands) == commands
        await one.close()
        await eventually(lambda: fake.open_connections == 0, what="the connection is closed")


@pytest.mark.parametrize("fault", [no_token, another_key, errors])
async def test_wrong_value_is_an_error(fault: Fault) -> None:
    async with FakeMemcached(fault, spare_probe=True) as fake:
        one = await connect(fake)
        with pytest.raises(CacheError):
            await one.get([KEY])
        await one.close()


@pytest.mark.parametrize(
    "response",
    {
        "twice the same key": b"VALUE k 0 1 1\r\nx\r\nVALUE k 0 1 1\r\nx\r\nEND\r\n",
        "negative after positive": b"VALUE k 0 9 1\r\n123456789\r\nVALUE l 0 -2 1\r\nEND\r\n",
        "shorter than declared": b"VALUE k 0 1 1\r\nxyz\r\nEND\r\n",
        "without an end": b"VALUE k 0 1 1\r\nxyzEND\r\n",
        "more than all together": b"VALUE k 0 %d 1\r\n" % (64 * 1024 * 1024 + 1),
        "cas that is no number": b"VALUE k 0 1 one\r\nx\r\nEND\r\n",
    }.items(),
    ids=lambda item: item[0],
)
async def test_wrong_lengths_are_errors(response: tuple[str, bytes]) -> None:
    async def lies(command: Command) -> None:
        await command.answer(response[1])

    async with FakeMemcached(lies, spare_probe=True) as fake:
        one = await connect(fake)
        started = time.monotonic()
        with pytest.raises(CacheError, match=r"get failed|invalid literal"):
            await one.get([b"k", b"l"])
        assert time.monotonic() - started < OPERATION_TIMEOUT / 2, "it did not wait for more"
        await one.close()


async def test_quoted_response_is_short() -> None:
    async def talks(command: Command) -> None:
        await command.answer(b"x" * 50_000 + b"\r\n")

    async with FakeMemcached(talks, spare_probe=True) as fake:
        for operation in ("get", "add"):
            one = await connect(fake)
            with pytest.raises(CacheError) as caught:
                await OPERATIONS[operation](one)
            assert len(str(caught.value)) < 250
            await one.close()


async def test_quoted_refusal_is_short() -> None:
    async def refuses(command: Command) -> None:
        await command.answer(b"SERVER_ERROR " + b"x" * 50_000 + b"\r\n")

    async with FakeMemcached(refuses, spare_probe=True) as fake:
        one = await connect(fake)
        (outcome,) = await one.store([Write(KEY, b"value", 60, None)])
        assert outcome.refusal.startswith("xxx")
        assert len(outcome.refusal) < 250
        await one.close()


async def test_one_failure_releases_all() -> None:
    """The pool of aiomcache 0.8.2 lets the others wait forever."""
    async with FakeMemcached(never_answers, spare_probe=True) as fake:
        one = await connect(fake)
        started = time.monotonic()
        calls = (one.get([KEY]) for _ in range(100))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, CacheError) for each in results)
        assert time.monotonic() - started < OPERATION_TIMEOUT + 0.3
        assert fake.commands.count(b"gets " + KEY) == 1
        await one.close()


async def late(command: Command) -> None:
    """Send the response to another command, after the caller has given up."""
    await asyncio.sleep(OPERATION_TIMEOUT + 0.1)
    await command.answer(b"VALUE " + command.key + b" 0 5 7\r\nstale\r\nEND\r\n")


async def test_late_response_is_dropped() -> None:
    async with FakeMemcached(late, spare_probe=True) as fake:
        one = await connect(fake)
        with pytest.raises(CacheError, match=r"no answer within 0\.5 s"):
            await one.get([KEY])
        fake.fault = None
        answered = fake.sent
        await eventually(lambda: fake.sent > answered, what="the late response was sent")
        with pytest.raises(CacheError):
            await one.get([OTHER])
        await one.close()


async def test_response_to_a_cancelled_call_is_dropped() -> None:
    """aiomcache 0.8.2 would take it for the response to the next command."""
    async with FakeMemcached(late, spare_probe=True) as fake:
        one = await connect(fake)
        call = asyncio.create_task(one.get([KEY]))
        await eventually(lambda: b"gets " + KEY in fake.commands, what="the command is there")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        fake.fault = None
        answered = fake.sent
        await eventually(lambda: fake.sent > answered, what="the late response was sent")
        with pytest.raises(CacheError, match="cancelled in mid-command"):
            await one.get([OTHER])
        await one.close()


async def test_call_cancelled_before_its_turn_harms_nobody() -> None:
    async with FakeMemcached(spare_probe=True) as fake:
        one = await connect(fake)
        proceed = asyncio.Event()

        async def slow(command: Command) -> None:
            await proceed.wait()
            await fake.obey(command)

        fake.fault = slow
        first = asyncio.create_task(one.get([KEY]))
        await eventually(lambda: b"gets " + KEY in fake.commands, what="the command is there")
        second = asyncio.create_task(one.get([KEY]))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        proceed.set()
        assert await first == {}
        await one.set(KEY, b"value", 60)
        assert (await one.get([KEY]))[KEY].value == b"value"
        await one.close()


async def test_surplus_responses_are_noticed() -> None:
    """Responses that were not asked for are never taken for those to commands of another kind."""
    async with FakeMemcached(says_stored_forever, spare_probe=True) as fake:
        one = await connect(fake)
        async with turning_loop():
            assert await one.get([KEY]) == {}
            with pytest.raises(CacheError):
                await one.delete(KEY)
        await one.close()


async def test_lost_connection_is_not_replaced(memcached: MemcachedProcess) -> None:
    """It could lead to a memcached that was restarted, and is empty: nothing would notice."""
    one = await connect(memcached)
    await asyncio.to_thread(memcached.kill)
    await asyncio.to_thread(memcached.start)
    with pytest.raises(CacheError):
        await one.get([KEY])
    await one.close()
