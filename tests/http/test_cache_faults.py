"""A misbehaving memcached under the whole application: clients notice nothing of it."""

import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine
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
from tests.support import eventually, turning_loop
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

KEY = b"aionotify:1:recent:main"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost memcached is probed again soon."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 0.05)
    monkeypatch.setattr(aionotify.cache, "RETRY_LAST", 0.1)


def note(number: int) -> Notification:
    """A notification published just now."""
    now = int(time.time() * 1000)
    return Notification(now * 1000 + number, now, f"m{number}")


@asynccontextmanager
async def running_cache(fake: FakeMemcached) -> AsyncIterator[Cache]:
    """A cache that has been started with `fake`, and stops within what it may take."""
    cache = Cache([Address(fake.host, fake.port)], 5, 3600)
    await cache.start()
    try:
        yield cache
    finally:
        started = time.monotonic()
        await cache.stop()
        assert time.monotonic() - started < 2.5


class Service:
    """The application, in the test's own event loop."""

    def __init__(self, client: "TestClient[aiohttp.web.Request, aiohttp.web.Application]") -> None:
        self._client = client
        self._sent: list[float] = []
        self.delay = 0.0
        """The longest time that a notification has taken, in seconds."""

    async def status(self) -> str:
        """What `/health` says about the cache."""
        async with self._client.get("/health") as response:
            return str((await response.json())["cache_status"])

    async def says(self, status: str, seconds: float = 2) -> None:
        """Wait until `/health` says so."""

        async def condition() -> bool:
            return await self.status() == status

        await eventually(condition, seconds, f"/health says {status}")

    async def listen(self, received: list[str]) -> None:
        """A client that keeps what it gets, for ever."""
        async with self._client.ws_connect("/ws") as ws:
            async for frame in ws:
                text = str(frame.data)
                received.append(text)
                if text.startswith("[Notification]"):
                    sent = self._sent[int(text.rpartition(" ")[2])]
                    self.delay = max(self.delay, time.monotonic() - sent)

    async def publish(self, rate: float = 100) -> None:
        """An admin that sends consecutive numbers, for ever."""
        async with self._client.ws_connect("/ws?client=admin") as ws:
            for number in itertools.count():
                self._sent.append(time.monotonic())
                await ws.send_str(f"{number}")
                await asyncio.sleep(1 / rate)

    @property
    def published(self) -> int:
        """How many were sent."""
        return len(self._sent)


@asynccontextmanager
async def running_service(fake: FakeMemcached) -> AsyncIterator[Service]:
    """The application with `fake` for its memcached."""
    app = create_app(Settings(memcached_hosts=(Address(fake.host, fake.port),), shutdown_grace=1))
    async with TestClient(TestServer(app)) as client:
        yield Service(client)


@asynccontextmanager
async def background(*coroutines: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run them meanwhile; what they raise is raised at the end."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        assert result is None or isinstance(result, asyncio.CancelledError), result


@pytest.mark.parametrize("fault", [*FAULTS, refuses_values])
async def test_clients_notice_nothing(fault: Fault, hasty: None) -> None:
    """Every notification, in order, without delay; and memcached has them in the end."""
    received: list[list[str]] = [[], [], []]
    async with FakeMemcached() as fake, running_service(fake) as service:
        async with turning_loop(), background(*map(service.listen, received)):
            await eventually(lambda: fake.commands.count(b"gets " + KEY) > 0)
            async with background(service.publish()):
                await eventually(lambda: all(len(each) > 10 for each in received))
                assert await service.status() == "connected"
                fake.fault = fault
                await service.says("fallback")
                here = service.published
                await eventually(lambda: service.published > here + 30)
                assert await service.status() == "fallback"
                fake.fault = None
                await service.says("connected", 3)
            count = service.published
            await eventually(lambda: all(len(each) >= count for each in received))
        wanted = [f"[Notification] {number}" for number in range(count)]
        assert received == [wanted] * 3
        assert service.delay < 0.25

        def stored() -> list[str]:
            document = json.loads(fake.values[KEY][0])
            return [each["message"] for each in document["notifications"]]

        newest = [f"{number}" for number in range(count - 5, count)]
        await eventually(lambda: stored() == newest, 2, "memcached has the newest five")


@pytest.mark.parametrize("fault", [closes, never_answers, garbage])
async def test_who_joins_during_a_fault_gets_the_recents(fault: Fault, hasty: None) -> None:
    """Fifty at once: they wait for one read together, half a second at most.

    More would make the loop, which they share with the server, stand still by themselves.
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


async def test_a_memcached_that_is_merely_slow_delays_nobody(hasty: None) -> None:
    async def slow(command: Command) -> None:
        await asyncio.sleep(0.3)
        await command.server.obey(command)

    received: list[list[str]] = [[]]
    async with FakeMemcached(slow, spare_probe=True) as fake, running_service(fake) as service:
        async with background(*map(service.listen, received)):
            await eventually(lambda: fake.commands.count(b"gets " + KEY) > 1)
            async with background(service.publish()):
                await eventually(lambda: len(received[0]) > 100)
                assert await service.status() == "connected"
        assert service.delay < 0.25


@pytest.mark.parametrize("fault", [closes, never_answers, refuses_values])
async def test_what_stays_broken_is_tried_ever_more_seldom_and_logged_once(
    fault: Fault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The probe itself finds nothing wrong; giving back the recents does."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 0.05)
    monkeypatch.setattr(aionotify.cache, "RETRY_LAST", 0.4)
    with caplog.at_level(logging.INFO, "aionotify"):
        async with FakeMemcached(fault, spare_probe=True) as fake, running_cache(fake) as cache:
            cache.add("main", note(1))
            seen: set[bool] = set()

            def tried(times: int) -> bool:
                if not seen and not cache.connected:
                    seen.add(False)
                elif seen:
                    seen.add(cache.connected)
                return len(fake.connected) >= times

            await eventually(lambda: tried(7), 8)
            assert seen == {False}, "it was said to be connected in between"
    lines = [each.getMessage() for each in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("recents are kept in memcached at")
    assert lines[1].startswith("lost memcached at")
    pauses = [later - earlier for earlier, later in itertools.pairwise(fake.connected)]
    for pause, least in zip(pauses, (0.05, 0.1, 0.2, 0.4, 0.4, 0.4), strict=False):
        assert pause > least * 0.9
    assert pauses[0] < 0.8


async def test_one_refused_value_is_forgotten_with_its_cause(
    hasty: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Once what was too big is not among the newest any more, memcached is used again."""

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
async def test_stopping_in_the_middle_of_a_fault_is_prompt(fault: Fault) -> None:
    """And leaves no connection behind."""
    async with FakeMemcached(fault, spare_probe=True) as fake:
        async with running_cache(fake) as cache:
            cache.add("main", note(1))
            await eventually(lambda: b"gets " + KEY in fake.commands)
        await eventually(lambda: fake.open_connections == 0, 2)


async def test_many_caches_at_once_can_hang_on_one_memcached() -> None:
    """Each gives up by itself; none waits for another's turn."""
    async with FakeMemcached(never_answers, spare_probe=True) as fake, AsyncExitStack() as stack:
        caches = [await stack.enter_async_context(running_cache(fake)) for _ in range(10)]
        async with turning_loop():
            started = time.monotonic()
            await asyncio.gather(*(cache.refresh("main") for cache in caches for _ in range(50)))
            assert time.monotonic() - started < 1
        assert not any(cache.connected for cache in caches)
