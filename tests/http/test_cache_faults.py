"""A misbehaving memcached under the whole application: clients see no difference."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

import aionotify.cache
from aionotify.app import create_app
from aionotify.net import Address
from aionotify.settings import Settings
from tests.support import MemcachedProcess, eventually, turning_loop
from tests.support.fault_server import (
    FAULTS,
    Command,
    FakeMemcached,
    Fault,
    closes,
    garbage,
    never_answers,
    refuses_values,
)
from tests.support.fault_values import KEY, reads, stored
from tests.support.heap import frozen_heap
from tests.support.processor import undisturbed_time
from tests.support.tasks import background

RATE = 100
"""Notifications per second."""

MAX_DELAY = 0.25
"""Seconds between publishing and delivery that cannot be explained by a call to memcached: such a
call takes at least 0.3 s here, and 0.5 s until it is given up."""


@pytest.fixture(autouse=True)
def quiet_collector() -> Iterator[None]:
    """Keep the garbage of pytest and coverage out of the time measurements.

    A full collection in the middle of `test_fault_goes_unnoticed` blocks the event loop that server
    and test share. That test failed in 4 of 47 runs until this was excluded.
    """
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

    async def post(self, message: str, topic: str = "main") -> int:
        """Publish `message` with a POST, and return the status."""
        path = f"/notifications?topic={topic}"
        async with self._client.post(path, data=message.encode()) as response:
            return response.status

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

        newest = [f"{number}" for number in range(count - 5, count)]
        await eventually(lambda: stored(fake) == newest, 2, "memcached has the newest five")


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
        assert reads(fake) < 20


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


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("\x01" * 180_000, id="escaped"),
        pytest.param("x" * 1_048_576, id="plain"),
    ],
)
async def test_message_above_item_limit_keeps_memcached(
    memcached: MemcachedProcess, message: str
) -> None:
    """JSON escapes a control character to six bytes; memcached takes a mebibyte by default."""
    async with running_service(memcached, max_message_bytes=1_048_576) as service:
        assert await service.post(message) == 201
        assert await service.cache_status() == "connected"
        assert await service.post("elsewhere", "other") == 201
        assert memcached.messages("other") == ["elsewhere"]
        assert await service.post("small") == 201
        assert memcached.messages() == ["small"]
        assert await service.cache_status() == "connected"


@asynccontextmanager
async def running_service(
    memcached: FakeMemcached | MemcachedProcess, **values: Any
) -> AsyncIterator[Service]:
    """Run the application with `memcached`, and with these settings."""
    address = Address(memcached.host, memcached.port)
    app = create_app(Settings(memcached_hosts=(address,), shutdown_grace=1, **values))
    async with TestClient(TestServer(app)) as client:
        yield Service(client)
