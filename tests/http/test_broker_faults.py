"""A misbehaving memcached under a broker: it starts, stops and reconnects as it should."""

import asyncio
import itertools
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

import aionotify.cache
from aionotify.broker.local import LocalBroker
from aionotify.cache import Cache
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.net import Address
from tests.support import eventually, log_lines, turning_loop
from tests.support.broker_contract import drafts
from tests.support.fault_server import (
    FAULTS,
    STORING,
    Command,
    FakeMemcached,
    Fault,
    closes,
    never_answers,
    refuses_values,
)
from tests.support.fault_values import KEY, OTHER_KEY, reads, stored

MAX_START = 3.5
"""Seconds within which a broker starts, whatever memcached does: 3 s to find one, and some."""

MAX_STOP = 2.5
"""Seconds within which it stops: 2 s for the last write, and some."""

FIRST_RETRY, LAST_RETRY = 0.05, 0.2
"""Seconds between attempts to reconnect, in the test of their growth."""

TOO_LARGE = "x" * 6000
"""Makes a value that `small_only` refuses."""


async def refuses_recents(command: Command) -> None:
    """Refuse the notifications of the topic `main`."""
    await (refuses_values if command.key == KEY else command.server.obey)(command)


@pytest.mark.parametrize("fault", [closes, never_answers, refuses_values])
async def test_reconnect_backs_off_and_logs_once(
    fault: Fault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The probe succeeds every time; writing the recent notifications back fails every time."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", FIRST_RETRY)
    monkeypatch.setattr(aionotify.cache, "RETRY_LAST", LAST_RETRY)
    # Notices a memcached that stores nothing at all: a refused value alone does not lose it.
    monkeypatch.setattr(aionotify.cache, "CHECK_INTERVAL", 0.1)
    with caplog.at_level(logging.INFO, "aionotify"):
        async with FakeMemcached(spare_probe=True) as fake, running_broker(fake) as broker:
            # Otherwise a check might come first, and the log would begin with the loss.
            fake.fault = refuses_recents if fault is refuses_values else fault
            await broker.publish(drafts("Hello"), wait_stored=True)
            fake.fault = fault
            await eventually(lambda: not broker.connected)

            def tried_five_times() -> bool:
                assert not broker.connected, "a memcached that takes no values was used"
                return len(fake.connected) >= 5

            await eventually(tried_five_times)
            pauses = [later - earlier for earlier, later in itertools.pairwise(fake.connected)]
    lines = [each.getMessage() for each in caplog.records]
    lost = "stopped with the recent notifications of 1 topics not written to memcached"
    wanted = [log_lines.CONNECTED, log_lines.LOST, lost]
    if fault is refuses_values:  # which is known not to take the notification
        lost = "stopped without a clean-shutdown marker in memcached"
        wanted = [log_lines.CONNECTED, "memcached refused ", log_lines.LOST, lost]
    for line, beginning in zip(lines, wanted, strict=True):
        assert line.startswith(beginning)
    expected = (FIRST_RETRY, FIRST_RETRY * 2, LAST_RETRY, LAST_RETRY)
    for pause, least in zip(pauses[:4], expected, strict=True):
        assert pause > least * 0.9
    assert pauses[0] < 0.8


async def small_only(command: Command) -> None:
    """Refuse values above 5000 bytes."""
    if command.name in STORING and len(command.data) > 5000:
        await command.answer(b"SERVER_ERROR object too large for cache\r\n")
    else:
        await command.server.obey(command)


async def test_refused_value_is_problem_of_its_topic(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Everything else is stored, memcached stays connected, and the log has one warning."""
    with caplog.at_level(logging.INFO, "aionotify"):
        async with FakeMemcached(small_only) as fake, running_broker(fake) as broker:
            await broker.publish(drafts("early"), wait_stored=True)
            await broker.publish(drafts(TOO_LARGE), wait_stored=True)
            assert stored(fake) == ["early"]
            await broker.publish(drafts("elsewhere", topic="other"), wait_stored=True)
            assert stored(fake, OTHER_KEY) == ["elsewhere"]
            for number in range(6):
                await broker.publish(drafts(f"m{number}"), wait_stored=True)
                assert stored(fake)[-1] == f"m{number}"
            assert stored(fake) == [f"m{number}" for number in range(1, 6)]
            assert broker.connected
            assert len(fake.connected) == 1
    connected, refused = (each.getMessage() for each in caplog.records)
    assert connected.startswith(log_lines.CONNECTED)
    assert re.fullmatch(
        r"memcached refused 6\d\d\d bytes of recent notifications of topic main "
        r"\(object too large for cache\): storing as many as it accepts",
        refused,
    )


@pytest.mark.parametrize("fault", [*FAULTS, refuses_values])
async def test_start_during_fault_is_prompt(fault: Fault) -> None:
    """The server starts without memcached, and publishes."""
    async with FakeMemcached(fault, spare_probe=True) as fake:
        started = time.monotonic()
        async with turning_loop(), running_broker(fake) as broker:
            assert time.monotonic() - started < MAX_START
            await broker.publish(drafts("Hello"), wait_stored=True)
            assert broker.open("main").history.head == 1


@pytest.mark.parametrize("fault", [*FAULTS, refuses_values])
async def test_stop_during_fault_is_prompt(fault: Fault) -> None:
    """It leaves no connection behind."""
    async with FakeMemcached(spare_probe=True) as fake:
        async with running_broker(fake) as broker:
            fake.fault = fault
            before = reads(fake)
            await broker.publish(drafts("Hello"), wait_stored=False)
            await eventually(lambda: reads(fake) > before)
        await eventually(lambda: fake.open_connections == 0, 2)


async def test_hung_caches_time_out_together() -> None:
    """Each of ten brokers gives up by itself; none waits for another one's turn."""
    async with FakeMemcached() as fake, AsyncExitStack() as stack:
        brokers = [await stack.enter_async_context(running_broker(fake)) for _ in range(10)]
        fake.fault = never_answers
        async with turning_loop():
            started = time.monotonic()
            await asyncio.gather(*(each.refresh("main") for each in brokers for _ in range(50)))
            assert time.monotonic() - started < 1
        assert not any(each.connected for each in brokers)
        fake.fault = None  # stopping is tested above, and would take ten seconds here


@asynccontextmanager
async def running_broker(fake: FakeMemcached) -> AsyncIterator[LocalBroker]:
    """Run a broker on `fake`. AssertionError unless it stops in time."""
    ids = IdSource()
    cache = Cache([Address(fake.host, fake.port)], 5, 3600, ids)
    broker = LocalBroker(Hub(1000, 3600, 100), cache, ids)
    await broker.start()
    try:
        yield broker
    finally:
        started = time.monotonic()
        await broker.stop()
        assert time.monotonic() - started < MAX_STOP
