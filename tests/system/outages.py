"""A server under watch, and the ways in which its memcached can fail."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from tests.support import MemcachedProcess, ServerProcess, eventually, log_lines, running_server
from tests.support.environment import with_memcached
from tests.support.fault_server import FakeMemcached, Fault, closes, garbage, never_answers
from tests.support.processor import undisturbed_time
from tests.support.raw_client import RawClient, server_frame

CLIENTS = 50

RATE = 100
"""Notifications per second."""

MAX_HEALTH_SECONDS = 0.5
"""How long `/health` may take. `test_cache_faults.py` watches the event loop itself; here the
clients of all servers share two processors with the servers."""

POLL_INTERVAL = 0.05
"""Seconds between two requests for `/health`."""

PAST_REFUSED_RETRY = 0.8
"""Seconds after which a lost memcached has been tried again in vain: the first attempt comes after
0.5 s, and a memcached that refuses or closes the connection fails at once."""

PAST_HUNG_RETRY = 1.8
"""The same for a memcached that does not answer: the attempt takes another second."""


class WatchedServer:
    """A server, its memcached, fifty clients, a steady publisher, and a watch on `/health`."""

    def __init__(self, server: ServerProcess, memcached: MemcachedProcess) -> None:
        self.server = server
        self.memcached = memcached
        self.published = 0
        self.slowest = 0.0
        """The longest `undisturbed_time` that `/health` has taken, in seconds."""
        self._clients: list[RawClient] = []
        self._status = ""
        self._polls = 0
        """How many answers of `/health` have been received."""
        self._session = aiohttp.ClientSession()
        self._publishing = True
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect all clients, then start to publish."""
        create = asyncio.create_task
        self._tasks.append(create(self._poll()))
        await self.reports("connected")
        for _ in range(CLIENTS):
            self._clients.append(await RawClient.connect(self.server.port))
        await eventually(self._all_clients_are_counted)
        self._tasks.append(create(self._publish()))
        await eventually(lambda: self.published > RATE / 5)

    async def close(self) -> None:
        """Disconnect everything. Raises the exception of a background task."""
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            client.abort()
        await self._session.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def reports(self, status: str, seconds: float = 2) -> None:
        """Wait until `/health` reports `status`, in answer to a request sent from now on."""
        # The answer received last may be older than the event that the caller has just seen, and
        # so may one that is on its way: only the second answer from now on is certainly newer.
        polls = self._polls + 2

        def reported() -> bool:
            return self._polls >= polls and self._status == status

        await eventually(reported, seconds, f"/health reports {status}")

    async def keeps_reporting(self, status: str, seconds: float) -> None:
        """AssertionError unless every answer of `/health` within `seconds` reports `status`."""
        end = time.monotonic() + seconds

        def over() -> bool:
            assert self._status == status
            return time.monotonic() > end

        await eventually(over, seconds + 5)

    async def delivers(self) -> None:
        """Wait until all clients have received everything published by now, and nothing else."""
        expected = self._published_frames()
        await eventually(
            lambda: all(client.size >= len(expected) for client in self._clients),
            what="all clients have received everything",
        )
        assert all(client.received.startswith(expected) for client in self._clients)

    async def check_delivery(self) -> None:
        """Stop publishing. Everything has arrived, in order, and memcached has the newest five."""
        self._publishing = False
        await asyncio.wait(self._tasks[-1:])
        await self.delivers()
        expected = self._published_frames()
        assert all(client.received == expected for client in self._clients)
        assert not any(client.closed for client in self._clients)
        assert self.slowest < MAX_HEALTH_SECONDS, f"/health took {self.slowest} s"
        newest = [f"{number}" for number in range(self.published - 5, self.published)]
        await eventually(lambda: self.memcached.messages() == newest, 2, "memcached has them")
        ids = [int(each["id"]) for each in self.memcached.recents()]
        assert ids == sorted(set(ids))

    def losses(self) -> int:
        """Return how often the server has logged that it lost memcached."""
        return self.server.output().count(log_lines.LOST)

    def _published_frames(self) -> bytes:
        return b"".join(
            server_frame(f"[Notification] {number}") for number in range(self.published)
        )

    async def _all_clients_are_counted(self) -> bool:
        async with self._session.get(f"{self.server.url}/health") as response:
            return int((await response.json())["connected_websockets"]) == CLIENTS

    async def _poll(self) -> None:
        while True:
            before = undisturbed_time()
            async with self._session.get(f"{self.server.url}/health") as response:
                self._status = (await response.json())["cache_status"]
            self._polls += 1
            self.slowest = max(self.slowest, undisturbed_time() - before)
            await asyncio.sleep(POLL_INTERVAL)

    async def _publish(self) -> None:
        start = time.monotonic()
        admin = await RawClient.connect(self.server.port, "/ws?client=admin")
        try:
            for number in itertools.count():
                if not self._publishing:
                    return
                admin.send(f"{number}")
                self.published += 1
                await asyncio.sleep(max(0, start + number / RATE - time.monotonic()))
        finally:
            admin.abort()


@asynccontextmanager
async def watched_server(starting: asyncio.Semaphore) -> AsyncIterator[WatchedServer]:
    """Start a memcached, a server and its clients. `starting` limits how many start at a time."""
    async with AsyncExitStack() as stack:
        memcached = MemcachedProcess()
        stack.callback(memcached.kill)
        async with starting:
            await asyncio.to_thread(memcached.start)
            # A heartbeat's ping would stand between the notifications in the clients' bytes.
            environment = with_memcached(memcached, AIONOTIFY_HEARTBEAT="0")
            server = await stack.enter_async_context(running_server(environment))
        watched = WatchedServer(server, memcached)
        stack.push_async_callback(watched.close)
        await watched.start()
        yield watched


Outage = Callable[[WatchedServer], Awaitable[None]]
"""Makes the memcached of a server fail, and work again."""


async def killed(watched: WatchedServer) -> None:
    """memcached dies and comes back later, empty."""
    watched.memcached.kill()
    await watched.reports("fallback")
    await watched.keeps_reporting("fallback", PAST_REFUSED_RETRY)
    await asyncio.to_thread(watched.memcached.start)


async def frozen(watched: WatchedServer) -> None:
    """memcached stops running. Its connections stay open, and the kernel accepts new ones."""
    watched.memcached.freeze()
    await watched.reports("fallback")
    await watched.keeps_reporting("fallback", PAST_HUNG_RETRY)
    watched.memcached.thaw()


async def restarted(watched: WatchedServer) -> None:
    """memcached is back at once, but has forgotten everything."""
    losses = watched.losses()
    watched.memcached.kill()
    await asyncio.to_thread(watched.memcached.start)
    await eventually(lambda: watched.losses() > losses, 2, "the server lost memcached")


async def restarted_four_times(watched: WatchedServer) -> None:
    """memcached is restarted as soon as the server has recovered from the last restart."""
    for _ in range(4):
        await restarted(watched)
        await watched.reports("connected", 3)
        await eventually(lambda: len(watched.memcached.messages()) == 5, 2)


def replaced(fault: Fault, seconds: float, *, spare_probe: bool = False) -> Outage:
    """Return an outage in which a server with `fault` listens in place of memcached."""

    async def replace(watched: WatchedServer) -> None:
        watched.memcached.kill()
        port = watched.memcached.port
        async with FakeMemcached(fault, spare_probe=spare_probe, port=port) as fake:
            await watched.reports("fallback")
            await watched.keeps_reporting("fallback", seconds)
            await eventually(lambda: bool(fake.commands), 5, "the server has tried again")
        await asyncio.to_thread(watched.memcached.start)

    return replace


OUTAGES: dict[str, Outage] = {
    "killed": killed,
    "frozen": frozen,
    "restarted": restarted,
    "closes in mid-command": replaced(closes, PAST_REFUSED_RETRY),
    "closes in mid-command after the probe": replaced(closes, PAST_REFUSED_RETRY, spare_probe=True),
    "answers garbage": replaced(garbage, PAST_REFUSED_RETRY),
    "never answers": replaced(never_answers, PAST_HUNG_RETRY),
    "never answers after the probe": replaced(never_answers, PAST_HUNG_RETRY, spare_probe=True),
}
