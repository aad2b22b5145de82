"""Which memcached the program uses, seen from outside the process."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support import MemcachedProcess, ServerProcess, eventually, free_port, log_lines
from tests.support.client import cache_status, recent_messages
from tests.support.environment import with_memcached, with_startup_code, without_memcached
from tests.support.processor import waited_for_processor
from tests.support.server import running_server

PORT = 11211
"""The default port of memcached, and so the port of the default hosts."""

# The loopback network has 16 million addresses. Every test process takes two of its own, because
# tests run in parallel, the default port is fixed, and another test's memcached would answer.
NETWORK = f"127.{os.getpid() // 256 % 256}.{os.getpid() % 256}"

FIRST, SECOND = f"{NETWORK}.11", f"{NETWORK}.12"
"""The addresses of `localhost` and `memcached`, the default hosts, for the program under test."""

START = 3.0
"""Seconds for a start that probes the two default hosts, including the start of Python."""

PROBE_LIMIT = 4.0
"""Seconds for a start with hosts that together would take longer than probing may (3 s)."""

RESOLVER = '''\
"""A name server of our own."""
import socket
import threading

HOSTS = {hosts!r}
real = socket.getaddrinfo


def getaddrinfo(host, *arguments, **named):
    if host not in HOSTS:
        return real(host, *arguments, **named)
    if HOSTS[host] == "hangs":
        threading.Event().wait()
    if HOSTS[host] == "unknown":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return real(HOSTS[host], *arguments, **named)


socket.getaddrinfo = getaddrinfo
'''


@pytest.fixture
def first() -> Iterator[MemcachedProcess]:
    """Start a memcached at `localhost:11211`."""
    with running_memcached(FIRST, PORT) as process:
        yield process


@pytest.fixture
def second() -> Iterator[MemcachedProcess]:
    """Start a memcached at `memcached:11211`."""
    with running_memcached(SECOND, PORT) as process:
        yield process


@pytest.fixture
def another() -> Iterator[MemcachedProcess]:
    """Start a memcached on a free port of 127.0.0.1."""
    with running_memcached() as process:
        yield process


async def test_first_default_host_wins(
    first: MemcachedProcess, second: MemcachedProcess, tmp_path: Path
) -> None:
    async with started_in_time(default_hosts(tmp_path)) as server:
        await check_use(server, first, second)


async def test_refusing_host_is_skipped(second: MemcachedProcess, tmp_path: Path) -> None:
    async with started_in_time(default_hosts(tmp_path)) as server:
        await check_use(server, second)
        assert "(localhost:11211: connection refused)" in server.output()


async def test_silent_host_is_skipped(second: MemcachedProcess, tmp_path: Path) -> None:
    with socket.create_server((FIRST, PORT)):
        async with started_in_time(default_hosts(tmp_path)) as server:
            await check_use(server, second)
            assert "(localhost:11211: no answer within 1 s)" in server.output()


async def test_web_server_is_skipped(second: MemcachedProcess, tmp_path: Path) -> None:
    async def web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with (
        await asyncio.start_server(web_server, FIRST, PORT),
        started_in_time(default_hosts(tmp_path)) as server,
    ):
        await check_use(server, second)


async def test_unknown_localhost_is_skipped(second: MemcachedProcess, tmp_path: Path) -> None:
    async with started_in_time(default_hosts(tmp_path, localhost="unknown")) as server:
        await check_use(server, second)
        assert "(localhost:11211: unknown host (Name or service not known))" in server.output()


async def test_memcached_port_applies_to_default_hosts(
    first: MemcachedProcess, tmp_path: Path
) -> None:
    with running_memcached(SECOND) as elsewhere:
        environment = default_hosts(tmp_path)
        environment["MEMCACHED_PORT"] = str(elsewhere.port)
        async with started_in_time(environment) as server:
            assert log_lines.connected(f"memcached:{elsewhere.port}") in server.output()
            assert await cache_status(server.url) == "connected"
            await publish(server, "Hello")
            await eventually(lambda: elsewhere.messages() == ["Hello"], 2)
            assert first.recents() == []


async def test_configured_hosts_keep_order(
    memcached: MemcachedProcess, another: MemcachedProcess
) -> None:
    hosts = [f"127.0.0.1:{port}" for port in (free_port(), another.port, memcached.port)]
    async with started_in_time({"MEMCACHED_HOST": ",".join(hosts)}) as server:
        await check_use(server, another, memcached)
        assert f"({hosts[0]}: connection refused)" in server.output()


async def test_memcached_port_applies_to_configured_hosts(
    memcached: MemcachedProcess, another: MemcachedProcess
) -> None:
    environment = {
        "MEMCACHED_HOST": f"127.0.0.99, 127.0.0.1:{free_port()}, 127.0.0.1",
        "MEMCACHED_PORT": str(memcached.port),
    }
    async with started_in_time(environment) as server:
        await check_use(server, memcached, another)
        assert f"(127.0.0.99:{memcached.port}: " in server.output()


async def test_configured_hosts_replace_default_hosts(
    first: MemcachedProcess, second: MemcachedProcess, tmp_path: Path
) -> None:
    environment = {**default_hosts(tmp_path), **without_memcached()}
    async with started_in_time(environment) as server:
        assert await cache_status(server.url) == "fallback"
        await publish(server, "Hello")
        assert first.statistic("cmd_set") == second.statistic("cmd_set") == 0
        assert "localhost" not in server.output().partition("listening")[0]


async def test_memory_is_the_fallback(tmp_path: Path) -> None:
    async with started_in_time(default_hosts(tmp_path)) as server:
        assert (
            f"{log_lines.UNAVAILABLE} (localhost:11211: connection refused; "
            f"memcached:11211: connection refused): {log_lines.FALLBACK}"
        ) in server.output()
        await check_fallback(server)


async def test_hung_probes_are_bounded(memcached: MemcachedProcess, tmp_path: Path) -> None:
    """Neither a name server nor hosts that do not answer delay the start or the end for long."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_check_hung_name_server(tmp_path))
        group.create_task(_check_many_silent_hosts(memcached))


async def _check_hung_name_server(folder: Path) -> None:
    environment = default_hosts(folder, localhost="hangs", memcached="hangs")
    async with started_in_time(environment) as server:
        assert (
            f"{log_lines.UNAVAILABLE} (localhost:11211: name not resolved within 1 s; "
            f"memcached:11211: name not resolved within 1 s): {log_lines.FALLBACK}"
        ) in server.output()
        await check_fallback(server)


async def _check_many_silent_hosts(memcached: MemcachedProcess) -> None:
    """The time for all probes at the start is limited; the last host is found afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = [f"127.0.0.1:{silent.getsockname()[1]}"] * 3 + [f"127.0.0.1:{memcached.port}"]
        environment = {"MEMCACHED_HOST": ",".join(hosts)}
        async with started_in_time(environment, PROBE_LIMIT) as server:
            assert "gave up after 3 s, trying further hosts in the background" in server.output()
            assert await cache_status(server.url) == "fallback"
            await eventually(lambda: log_lines.connected(hosts[-1]) in server.output(), 6)
            assert await cache_status(server.url) == "connected"


async def test_late_memcached_is_found() -> None:
    memcached = MemcachedProcess()
    async with running_server(with_memcached(memcached)) as server:
        assert await cache_status(server.url) == "fallback"
        await publish(server, "Hello")
        memcached.start()
        try:

            async def connected() -> bool:
                return await cache_status(server.url) == "connected"

            await eventually(connected, 4)
            assert memcached.messages() == ["Hello"]
            where = f"127.0.0.1:{memcached.port}"
            assert log_lines.connected(where) in server.output()
            assert log_lines.reconnected(where) not in server.output()
        finally:
            memcached.kill()


@contextmanager
def running_memcached(host: str = "127.0.0.1", port: int = 0) -> Iterator[MemcachedProcess]:
    """Run a memcached on `host`, on a free port if none is given."""
    process = MemcachedProcess(port or None, host)
    process.start()
    try:
        yield process
    finally:
        process.kill()


@asynccontextmanager
async def started_in_time(
    environment: dict[str, str], seconds: float = START
) -> AsyncIterator[ServerProcess]:
    """Run a server. AssertionError unless it starts, and ends, within `seconds` each.

    Time in which the server was ready to run and other processes had the processor is subtracted.
    """
    before = time.monotonic()
    async with running_server(environment) as server:
        taken = time.monotonic() - before - waited_for_processor(server.process.pid)
        assert taken < seconds
        yield server
        before, pid = time.monotonic(), server.process.pid
        ready = waited = waited_for_processor(pid)
        stopping = asyncio.create_task(server.stop())
        while not stopping.done():
            waited = max(waited, waited_for_processor(pid))  # 0 once it has ended
            await asyncio.sleep(0.01)
        assert await stopping == 0
        assert time.monotonic() - before - (waited - ready) < seconds


def default_hosts(folder: Path, localhost: str = FIRST, memcached: str = SECOND) -> dict[str, str]:
    """Return an environment in which the two default hosts have these addresses.

    Instead of an address, `unknown` makes the look-up fail, and `hangs` makes it never end.
    """
    hosts = {"localhost": localhost, "memcached": memcached}
    return with_startup_code(folder, RESOLVER.format(hosts=hosts))


async def check_use(
    server: ServerProcess, used: MemcachedProcess, *unused: MemcachedProcess
) -> None:
    """Assert that `server` says that it uses `used`, and stores there and nowhere else."""
    names = {FIRST: "localhost:11211", SECOND: "memcached:11211"}
    name = names.get(used.host, f"{used.host}:{used.port}")
    assert log_lines.connected(name) in server.output()
    assert await cache_status(server.url) == "connected"
    await publish(server, "Hello")
    await eventually(lambda: used.messages() == ["Hello"], 2)
    assert all(each.recents() == [] for each in unused)


async def check_fallback(server: ServerProcess) -> None:
    """Assert that `server` keeps recent notifications without any memcached."""
    assert await cache_status(server.url) == "fallback"
    await publish(server, "Hello")
    assert await recent_messages(server.url) == ["Hello"]
    async with aiohttp.ClientSession() as session, session.ws_connect(server.ws_url) as ws:
        assert await ws.receive_str(timeout=5) == "[Recent] Hello"


async def publish(server: ServerProcess, message: str) -> None:
    """Publish over a WebSocket, and wait until the message comes back.

    Unlike a POST, this does not wait until the notification is stored.
    """
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.ws_url}?client=admin") as ws,
    ):
        await ws.send_str(message)
        assert await ws.receive_str(timeout=5) == f"[Notification] {message}"
