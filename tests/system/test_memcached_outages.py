"""memcached fails while notifications flow: fifty clients must not notice."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.support import MemcachedProcess, ServerProcess, eventually, running_server
from tests.support.fault_server import FakeMemcached, Fault, closes, garbage, never_answers

CLIENTS = 50
RATE = 100
"""Notifications a second."""

SLOWEST = 0.5
"""Seconds that `/health` may take at most. The event loop itself is watched in test_cache_faults;
here fifty clients share two processors with the server."""


class Outage:
    """What happens to memcached, and what the clients of the server see meanwhile."""

    def __init__(self, server: ServerProcess, memcached: MemcachedProcess) -> None:
        self.server = server
        self.memcached = memcached
        self.received: list[list[str]] = [[] for _ in range(CLIENTS)]
        self.published = 0
        self.status = ""
        """What `/health` said last."""
        self.slowest = 0.0
        self._session = aiohttp.ClientSession()
        self._publishing = True
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect everybody, and let the notifications flow."""
        create = asyncio.create_task
        self._tasks += [create(self._listen(received)) for received in self.received]
        self._tasks.append(create(self._look()))
        await eventually(lambda: self.status == "connected")
        await eventually(self._all_are_there)
        self._tasks.append(create(self._publish()))
        await eventually(lambda: self.published > RATE / 5)

    async def _all_are_there(self) -> bool:
        async with self._session.get(f"{self.server.url}/health") as response:
            return int((await response.json())["connected_websockets"]) == CLIENTS

    async def close(self) -> None:
        """Let go of everything; raises what went wrong in the background."""
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        for result in results:
            assert result is None or isinstance(result, asyncio.CancelledError), result

    async def says(self, status: str, seconds: float = 2) -> None:
        """Wait until `/health` says so."""
        await eventually(lambda: self.status == status, seconds, f"/health says {status}")

    async def still_says(self, status: str, seconds: float) -> None:
        """`/health` says so for that long."""
        end = time.monotonic() + seconds

        def over() -> bool:
            assert self.status == status
            return time.monotonic() > end

        await eventually(over, seconds + 5)

    async def nobody_noticed(self) -> None:
        """Stop publishing; everything has arrived everywhere, in order, and is in memcached."""
        self._publishing = False
        await asyncio.wait(self._tasks[-1:])
        wanted = [f"[Notification] {number}" for number in range(self.published)]
        await eventually(lambda: all(len(each) >= len(wanted) for each in self.received))
        assert all(each == wanted for each in self.received)
        assert self.slowest < SLOWEST, f"/health took {self.slowest} s"
        newest = [f"{number}" for number in range(self.published - 5, self.published)]
        await eventually(lambda: self.memcached.messages() == newest, 2, "memcached has them")
        ids = [int(each["id"]) for each in self.memcached.recents()]
        assert ids == sorted(set(ids))

    async def _listen(self, received: list[str]) -> None:
        async with self._session.ws_connect(self.server.ws_url) as ws:
            async for frame in ws:
                received.append(frame.data)
            raise AssertionError(f"a client was closed with {ws.close_code}")

    async def _look(self) -> None:
        while True:
            before = time.monotonic()
            async with self._session.get(f"{self.server.url}/health") as response:
                self.status = (await response.json())["cache_status"]
            self.slowest = max(self.slowest, time.monotonic() - before)
            await asyncio.sleep(0.02)

    async def _publish(self) -> None:
        start = time.monotonic()
        async with self._session.ws_connect(f"{self.server.ws_url}?client=admin") as ws:
            for number in itertools.count():
                if not self._publishing:
                    return
                await ws.send_str(f"{number}")
                self.published += 1
                await asyncio.sleep(max(0, start + number / RATE - time.monotonic()))


@pytest.fixture
async def outage(memcached: MemcachedProcess) -> AsyncIterator[Outage]:
    """Everything is well so far."""
    async with AsyncExitStack() as stack:
        environment = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
        server = await stack.enter_async_context(running_server(environment))
        outage = Outage(server, memcached)
        stack.push_async_callback(outage.close)
        await outage.start()
        yield outage


async def killed(outage: Outage) -> None:
    """It dies, and comes back after two seconds, empty."""
    outage.memcached.kill()
    await outage.says("fallback")
    await outage.still_says("fallback", 2)
    await asyncio.to_thread(outage.memcached.start)


async def frozen(outage: Outage) -> None:
    """It stops for ten seconds, its connections stay open, and new ones can be made."""
    outage.memcached.freeze()
    await outage.says("fallback")
    await outage.still_says("fallback", 8)
    outage.memcached.thaw()


async def started_again(outage: Outage) -> None:
    """It is there again at once, but has forgotten everything."""
    outage.memcached.kill()
    await asyncio.to_thread(outage.memcached.start)
    await eventually(lambda: "lost memcached" in outage.server.output(), 2)


def replaced(fault: Fault, *, spare_probe: bool = False) -> Callable[[Outage], Awaitable[None]]:
    """Something else listens in its place for two seconds."""

    async def replace(outage: Outage) -> None:
        outage.memcached.kill()
        async with FakeMemcached(
            fault, spare_probe=spare_probe, port=outage.memcached.port
        ) as fake:
            await outage.says("fallback")
            await outage.still_says("fallback", 2)
            assert fake.commands
        await asyncio.to_thread(outage.memcached.start)

    return replace


OUTAGES: dict[str, Callable[[Outage], Awaitable[None]]] = {
    "killed": killed,
    "frozen": frozen,
    "started again": started_again,
    "closes in mid-command": replaced(closes),
    "closes in mid-command, but for the probe": replaced(closes, spare_probe=True),
    "answers garbage": replaced(garbage),
    "never answers": replaced(never_answers),
    "never answers, but the probe": replaced(never_answers, spare_probe=True),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", OUTAGES)
async def test_fifty_clients_do_not_notice_that_memcached(outage: Outage, name: str) -> None:
    """It comes back within twice the outage: it is tried ever more seldom."""
    before = time.monotonic()
    await OUTAGES[name](outage)
    await outage.says("connected", 2 + (time.monotonic() - before))
    await outage.nobody_noticed()
    output = outage.server.output()
    assert output.count("lost memcached at") == 1
    assert output.count(f"{outage.memcached.port} again\n") == 1
    assert "Traceback" not in output
    assert "Task exception" not in output


@pytest.mark.timeout(20)
async def test_fifty_clients_do_not_notice_one_outage_after_another(outage: Outage) -> None:
    """Every recovery leaves everything as it was, ready for the next time."""
    for _ in range(4):
        await started_again(outage)
        await outage.says("connected", 3)
        await eventually(lambda: len(outage.memcached.messages()) == 5, 2)
    await outage.nobody_noticed()
    assert outage.server.output().count("lost memcached at") >= 4
