"""Which memcached the program uses, as seen from outside."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support import (
    ROOT,
    MemcachedProcess,
    ServerProcess,
    eventually,
    free_port,
    running_server,
)

FIRST, SECOND = "127.0.0.11", "127.0.0.12"
"""What `localhost` and `memcached` are for the program: only there port 11211 is ours."""

START = 3.0
"""Seconds that a start may take, Python's own included, with the two hosts probed by default."""

STUB = '''\
"""Imported by Python at its start: a name server of our own."""
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


def resolver(folder: Path, **hosts: str) -> dict[str, str]:
    """An environment in which these names are those addresses, or `unknown`, or `hangs`."""
    (folder / "sitecustomize.py").write_text(STUB.format(hosts=hosts), encoding="utf-8")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


async def health(server: ServerProcess) -> str:
    """What `/health` says about the cache."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/health") as response,
    ):
        return str((await response.json())["cache_status"])


async def publish(server: ServerProcess, message: str) -> None:
    """Send one notification, and see it."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.ws_url}?client=admin") as ws,
    ):
        await ws.send_str(message)
        assert await ws.receive_str(timeout=5) == f"[Notification] {message}"


async def uses(server: ServerProcess, used: MemcachedProcess, *unused: MemcachedProcess) -> None:
    """Assert that `server` says so, and stores there and nowhere else."""
    names = {FIRST: "localhost:11211", SECOND: "memcached:11211"}
    name = names.get(used.host, f"{used.host}:{used.port}")
    assert f"recents are kept in memcached at {name}" in server.output()
    assert await health(server) == "connected"
    await publish(server, "Hello")
    await eventually(lambda: used.messages() == ["Hello"], 2)
    assert all(each.recents() == [] for each in unused)


@pytest.fixture
def first() -> Iterator[MemcachedProcess]:
    """A memcached where `localhost:11211` is."""
    process = MemcachedProcess(11211, FIRST)
    process.start()
    yield process
    process.kill()


@pytest.fixture
def second() -> Iterator[MemcachedProcess]:
    """A memcached where `memcached:11211` is."""
    process = MemcachedProcess(11211, SECOND)
    process.start()
    yield process
    process.kill()


@pytest.fixture
def another() -> Iterator[MemcachedProcess]:
    """A memcached on a port of its own."""
    process = MemcachedProcess()
    process.start()
    yield process
    process.kill()


@asynccontextmanager
async def started_in_time(
    environment: dict[str, str], seconds: float = START
) -> AsyncIterator[ServerProcess]:
    """A server that listened within `seconds`, and ends as promptly."""
    before = time.monotonic()
    async with running_server(environment) as server:
        assert time.monotonic() - before < seconds
        yield server
        before = time.monotonic()
        assert await server.stop() == 0
        assert time.monotonic() - before < seconds


async def test_of_two_the_first_is_used(
    first: MemcachedProcess, second: MemcachedProcess, tmp_path: Path
) -> None:
    async with started_in_time(resolver(tmp_path, localhost=FIRST, memcached=SECOND)) as server:
        await uses(server, first, second)


async def test_where_the_first_does_not_answer_the_second_is_used(
    second: MemcachedProcess, tmp_path: Path
) -> None:
    async with started_in_time(resolver(tmp_path, localhost=FIRST, memcached=SECOND)) as server:
        await uses(server, second)
        assert "(localhost:11211: connection refused)" in server.output()


async def test_where_the_first_is_silent_the_second_is_used(
    second: MemcachedProcess, tmp_path: Path
) -> None:
    with socket.create_server((FIRST, 11211)):
        environment = resolver(tmp_path, localhost=FIRST, memcached=SECOND)
        async with started_in_time(environment) as server:
            await uses(server, second)
            assert "(localhost:11211: no answer within 1 s)" in server.output()


async def test_where_the_first_is_no_memcached_the_second_is_used(
    second: MemcachedProcess, tmp_path: Path
) -> None:
    async def web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(web_server, FIRST, 11211):
        environment = resolver(tmp_path, localhost=FIRST, memcached=SECOND)
        async with started_in_time(environment) as server:
            await uses(server, second)


async def test_the_name_localhost_may_be_unknown(second: MemcachedProcess, tmp_path: Path) -> None:
    environment = resolver(tmp_path, localhost="unknown", memcached=SECOND)
    async with started_in_time(environment) as server:
        await uses(server, second)
        assert "localhost:11211: the name is not known" in server.output()


async def test_memcached_port_is_that_of_the_default_hosts(
    first: MemcachedProcess, tmp_path: Path
) -> None:
    elsewhere = MemcachedProcess(host=SECOND)
    elsewhere.start()
    environment = resolver(tmp_path, localhost=FIRST, memcached=SECOND)
    environment["MEMCACHED_PORT"] = str(elsewhere.port)
    try:
        async with started_in_time(environment) as server:
            assert f"in memcached at memcached:{elsewhere.port}" in server.output()
            assert await health(server) == "connected"
            await publish(server, "Hello")
            await eventually(lambda: elsewhere.messages() == ["Hello"], 2)
            assert first.recents() == []
    finally:
        elsewhere.kill()


async def test_the_hosts_that_are_set_are_probed_in_that_order(
    memcached: MemcachedProcess, another: MemcachedProcess
) -> None:
    hosts = [f"127.0.0.1:{port}" for port in (free_port(), another.port, memcached.port)]
    async with started_in_time({"MEMCACHED_HOST": ",".join(hosts)}) as server:
        await uses(server, another, memcached)
        assert f"({hosts[0]}: connection refused)" in server.output()


async def test_hosts_without_a_port_are_probed_at_memcached_port(
    memcached: MemcachedProcess, another: MemcachedProcess
) -> None:
    environment = {
        "MEMCACHED_HOST": f"127.0.0.99, 127.0.0.1:{free_port()}, 127.0.0.1",
        "MEMCACHED_PORT": str(memcached.port),
    }
    async with started_in_time(environment) as server:
        await uses(server, memcached, another)
        assert f"(127.0.0.99:{memcached.port}: " in server.output()


async def test_where_hosts_are_set_the_default_ones_are_not_probed(
    first: MemcachedProcess, second: MemcachedProcess, tmp_path: Path
) -> None:
    environment = resolver(tmp_path, localhost=FIRST, memcached=SECOND)
    environment["MEMCACHED_HOST"] = f"127.0.0.1:{free_port()}"
    async with started_in_time(environment) as server:
        assert await health(server) == "fallback"
        await publish(server, "Hello")
        assert first.statistic("cmd_set") == second.statistic("cmd_set") == 0
        assert "localhost" not in server.output().partition("listening")[0]


async def test_where_none_answers_memory_is_enough(tmp_path: Path) -> None:
    async with started_in_time(resolver(tmp_path, localhost=FIRST, memcached=SECOND)) as server:
        assert (
            "no memcached answers (localhost:11211: connection refused; "
            "memcached:11211: connection refused): recents are kept in memory"
        ) in server.output()
        assert await health(server) == "fallback"
        await publish(server, "Hello")
        await publish_and_read_back(server)


async def publish_and_read_back(server: ServerProcess) -> None:
    """The recents work without any memcached."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{server.url}/messages") as response:
            assert await response.json() == {"recent_messages": ["Hello"]}
        async with session.ws_connect(server.ws_url) as ws:
            assert await ws.receive_str(timeout=5) == "[Recent] Hello"


async def test_a_name_server_that_hangs_holds_up_neither_start_nor_end(tmp_path: Path) -> None:
    async with started_in_time(resolver(tmp_path, localhost="hangs", memcached="hangs")) as server:
        assert "memcached:11211: no answer within 1 s" in server.output()
        assert await health(server) == "fallback"
        await publish(server, "Hello")
        await publish_and_read_back(server)


async def test_many_hosts_that_are_silent_hold_up_neither_start_nor_end() -> None:
    """The whole of the probing has its limit, however many hosts there are."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hosts = ",".join([f"127.0.0.1:{port}"] * 5)
        async with started_in_time({"MEMCACHED_HOST": hosts}, START + 1) as server:
            assert "and 3 s were over" in server.output()
            assert await health(server) == "fallback"


async def test_a_memcached_that_comes_up_later_is_found(tmp_path: Path) -> None:
    memcached = MemcachedProcess()
    async with running_server({"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}) as server:
        assert await health(server) == "fallback"
        await publish(server, "Hello")
        memcached.start()
        try:

            async def connected() -> bool:
                return await health(server) == "connected"

            await eventually(connected, 4)
            assert memcached.messages() == ["Hello"]
            assert "kept in memcached at" in server.output()
        finally:
            memcached.kill()
