"""A misbehaving memcached under the whole application: clients see no difference."""

import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

import aionotify.cache
from aionotify.app import create_app
from aionotify.cache import Cache
from aionotify.net import Address
from aionotify.notification import Notification
from aionotify.settings import Settings
from tests.support import eventually, log_lines, turning_loop
from tests.support.fault_server import (
    FAULTS,
    STORING,
    Command,
    FakeMemcached,
    Fault,
    closes,
    garbage,
    never_answers,
    refuses_values,
)
from tests.support.heap import frozen_heap
from tests.support.processor import undisturbed_time
from tests.support.resolver import resolve_without_thread
from tests.support.tasks import background

KEY = b"aionotify:1:recent:main"

RATE = 100
"""Notifications per second."""

MAX_DELAY = 0.25
"""Seconds between publishing and delivery that cannot be explained by a call to memcached: such a
call takes at least 0.3 s here, and 0.5 s until it is given up."""

MAX_STOP = 2.5
"""Seconds within which a cache stops, whatever memcached does: 2 s for the last write, and some."""

FIRST_RETRY, LAST_RETRY = 0.05, 0.2
"""Seconds between attempts to reconnect, in the test of their growth."""


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the garbage collector and other threads out of the time measurements.

    Both block the event loop that server and test share, and in 4 of 47 runs on a busy machine
    they made `test_fault_goes_unnoticed` fail.
    """
    resolve_without_thread(monkeypatch)
    with frozen_heap():
        yield


@pytest.fixture
def fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cache reconnect to a lost memcached soon."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 0.05)
    monkeypatch.setattr(aionotify.cache, "RETRY_LAST", 0.1)


class Service:
    """The application, in the event loop of the test."""

    def __init__(self, client: "TestClient[aiohttp.web.Request, aiohttp.web.Application]") -> None:
        self.delay = 0.0
        """The longest `undisturbed_time` from publishing to delivery so far, in seconds."""
        self._client = client
        self._sent: list[float] = []
        """The time at which each notification was published."""

    async def cache_status(self) -> str:
        """Return the `cache_status` of `/health`."""
        async with self._client.get("/health") as response:
            return str((await response.json())["cache_status"])

    async def reports(self, status: str, seconds: float = 2) -> None:
        """Wait until `/health` reports `status`."""

        async def reported() -> bool:
            return await self.cache_status() == status

        await eventually(reported, seconds, f"/health reports {status}")

    async def has_clients(self, count: int) -> None:
        """Wait until `count` clients are subscribed: later ones would get recents instead."""

        async def subscribed() -> bool:
            async with self._client.get("/health") as response:
                return int((await response.json())["connected_websockets"]) == count

        await eventually(subscribed, what=f"{count} clients are connected")

    async def listen(self, received: list[str]) -> None:
        """Connect a client that adds every frame to `received`. Runs until it is cancelled."""
        async with self._client.ws_connect("/ws") as ws:
            async for frame in ws:
                text = str(frame.data)
                received.append(text)
                if text.startswith("[Notification]"):
                    sent = self._sent[int(text.rpartition(" ")[2])]
                    self.delay = max(self.delay, undisturbed_time() - sent)

    async def publish(self) -> None:
        """Publish consecutive numbers at `RATE`. Runs until it is cancelled."""
        async with self._client.ws_connect("/ws?client=admin") as ws:
            for number in itertools.count():
                self._sent.append(undisturbed_time())
                await ws.send_str(f"{number}")
                await asyncio.sleep(1 / RATE)

    @property
    def published(self) -> int:
        """The number of notifications published so far."""
        return len(self._sent)


@pytest.mark.parametrize("fault", [*FAULTS, refuses_values])
async def test_fault_goes_unnoticed(fault: Fault, fast_retries: None) -> None:
    """Everything arrives in order and without delay, and memcached has the newest in the end."""
    received: list[list[str]] = [[], [], []]
    async with FakeMemcached() as fake, running_service(fake) as service:
        async with turning_loop(), background(*map(service.listen, received)):
            await service.has_clients(3)
            async with background(service.publish()):
                await eventually(lambda: all(len(each) > 10 for each in received))
                assert await service.cache_status() == "connected"
                fake.fault = fault
                await service.reports("fallback")
                here = service.published
                await eventually(lambda: service.published > here + 30)
                assert await service.cache_status() == "fallback"
                fake.fault = None
                await service.reports("connected", 3)
            count = service.published
            await eventually(lambda: all(len(each) >= count for each in received))
        wanted = [f"[Notification] {number}" for number in range(count)]
        assert received == [wanted] * 3
        assert service.delay < MAX_DELAY

        def stored() -> list[str]:
            document = json.loads(fake.values[KEY][0])
            return [each["message"] for each in document["notifications"]]

        newest = [f"{number}" for number in range(count - 5, count)]
        await eventually(lambda: stored() == newest, 2, "memcached has the newest five")


@pytest.mark.parametrize("fault", [closes, never_answers, garbage])
async def test_join_during_fault_replays_recents(fault: Fault, fast_retries: None) -> None:
    """50 clients that connect at once share one read, which ends after half a second at most.

    More clients would block the event loop by themselves, because they share it with the server.
    """
    async with FakeMemcached() as fake, running_service(fake) as service:
        async with background(service.publish()):
            await eventually(lambda: service.published > 10)
        await eventually(lambda: KEY in fake.values)
        fake.fault = fault
        received: list[list[str]] = [[] for _ in range(50)]
        async with turning_loop(), background(*map(service.listen, received)):
            await eventually(lambda: all(len(each) == 5 for each in received), 1.5)
        assert all(each == received[0] for each in received)
        assert fake.commands.count(b"gets " + KEY) < 20


async def test_slow_memcached_delays_nothing(fast_retries: None) -> None:
    async def slow(command: Command) -> None:
        await asyncio.sleep(0.3)
        await command.server.obey(command)

    received: list[str] = []
    async with FakeMemcached(slow, spare_probe=True) as fake, running_service(fake) as service:
        async with background(service.listen(received)):
            await service.has_clients(1)
            async with background(service.publish()):
                await eventually(lambda: len(received) > 100)
                assert await service.cache_status() == "connected"
        assert service.delay < MAX_DELAY


@pytest.mark.parametrize("fault", [closes, never_answers, refuses_values])
async def test_reconnect_backs_off_and_logs_once(
    fault: Fault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The probe succeeds every time; writing the recent notifications back fails every time."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", FIRST_RETRY)
    monkeypatch.setattr(aionotify.cache, "RETRY_LAST", LAST_RETRY)
    with caplog.at_level(logging.INFO, "aionotify"):
        async with FakeMemcached(fault, spare_probe=True) as fake, running_cache(fake) as cache:
            cache.add("main", note(1))
            await eventually(lambda: not cache.connected)

            def tried_five_times() -> bool:
                assert not cache.connected, "a memcached that takes no values was used"
                return len(fake.connected) >= 5

            await eventually(tried_five_times)
    lines = [each.getMessage() for each in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith(log_lines.CONNECTED)
    assert lines[1].startswith(log_lines.LOST)
    pauses = [later - earlier for earlier, later in itertools.pairwise(fake.connected)]
    expected = (FIRST_RETRY, FIRST_RETRY * 2, LAST_RETRY, LAST_RETRY)
    for pause, least in zip(pauses[:4], expected, strict=True):
        assert pause > least * 0.9
    assert pauses[0] < 0.8


async def test_refused_value_does_not_last(
    fast_retries: None, caplog: pytest.LogCaptureFixture
) -> None:
    """memcached is used again once the value that was too large is no longer among the newest."""

    async def small_only(command: Command) -> None:
        if command.name in STORING and len(command.data) > 5000:
            await command.answer(b"SERVER_ERROR object too large for cache\r\n")
        else:
            await command.server.obey(command)

    with caplog.at_level(logging.INFO, "aionotify"):
        async with FakeMemcached(small_only) as fake, running_cache(fake) as cache:
            big = note(0)
            cache.add("main", Notification(big.id, big.time, "x" * 6000))
            await eventually(lambda: not cache.connected)
            for number in range(1, 6):
                cache.add("main", note(number))
            await eventually(lambda: cache.connected)
            assert b"m5" in fake.values[KEY][0]
    assert len(caplog.records) == 3
    assert "object too large for cache" in caplog.text


@pytest.mark.parametrize("fault", [*FAULTS, refuses_values])
async def test_stop_during_fault_is_prompt(fault: Fault) -> None:
    """It leaves no connection behind."""
    async with FakeMemcached(fault, spare_probe=True) as fake:
        async with running_cache(fake) as cache:
            cache.add("main", note(1))
            await eventually(lambda: b"gets " + KEY in fake.commands)
        await eventually(lambda: fake.open_connections == 0, 2)


async def test_hung_caches_time_out_together() -> None:
    """Each of ten caches gives up by itself; none waits for another one's turn."""
    async with FakeMemcached(never_answers, spare_probe=True) as fake, AsyncExitStack() as stack:
        caches = [await stack.enter_async_context(running_cache(fake)) for _ in range(10)]
        async with turning_loop():
            started = time.monotonic()
            await asyncio.gather(*(cache.refresh("main") for cache in caches for _ in range(50)))
            assert time.monotonic() - started < 1
        assert not any(cache.connected for cache in caches)


def note(number: int) -> Notification:
    """Return a notification that was published just now."""
    now = int(time.time() * 1000)
    return Notification(now * 1000 + number, now, f"m{number}")


@asynccontextmanager
async def running_cache(fake: FakeMemcached) -> AsyncIterator[Cache]:
    """Run a cache on `fake`. AssertionError unless it stops in time."""
    cache = Cache([Address(fake.host, fake.port)], 5, 3600)
    await cache.start()
    try:
        yield cache
    finally:
        started = time.monotonic()
        await cache.stop()
        assert time.monotonic() - started < MAX_STOP


@asynccontextmanager
async def running_service(fake: FakeMemcached) -> AsyncIterator[Service]:
    """Run the application with `fake` as its memcached."""
    app = create_app(Settings(memcached_hosts=(Address(fake.host, fake.port),), shutdown_grace=1))
    async with TestClient(TestServer(app)) as client:
        yield Service(client)
