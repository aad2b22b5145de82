"""Host names to addresses: in order, in time, and without holding up anything."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from aionotify.cache.memcached import Memcached
from aionotify.cache.resolve import resolve
from aionotify.errors import CacheError
from aionotify.net import Address
from tests.support import MemcachedProcess, turning_loop
from tests.support.memcached_tools import Resolver, answers


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use a name server that does not answer before the end of the test."""
    end = threading.Event()

    def look_up(*_: object, **__: object) -> list[tuple[Any, ...]]:
        end.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    before = threading.active_count()
    yield
    end.set()
    deadline = time.monotonic() + 5
    while threading.active_count() > before:
        assert time.monotonic() < deadline, "a thread was left behind"
        time.sleep(0.01)


def use(monkeypatch: pytest.MonkeyPatch, resolver: Resolver) -> None:
    """Have all names looked up by `resolver`."""
    monkeypatch.setattr(socket, "getaddrinfo", resolver)


async def test_ipv4_comes_before_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where IPv6 leads nowhere, its time-out comes first otherwise."""
    use(monkeypatch, answers("::1", "127.0.0.2", "::2", "127.0.0.1"))
    found = await resolve(Address("cache", 11211))
    assert found == ["127.0.0.2", "127.0.0.1", "::1", "::2"]


async def test_repeated_address_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is listed twice, as `localhost` often is, would take twice the time-out."""
    use(monkeypatch, answers("127.0.0.1", "::1", "127.0.0.1"))
    assert await resolve(Address("cache", 11211)) == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_address_is_not_looked_up(host: str, hanging: None) -> None:
    """It takes neither a name server nor a thread."""
    threads = threading.active_count()
    assert await resolve(Address(host, 11211)) == [host]
    assert threading.active_count() == threads


async def test_ipv4_is_used_first(
    memcached: MemcachedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, answers("::1", "127.0.0.1"))
    one = await Memcached.connect(Address("localhost", memcached.port))
    assert one._client._pool._host == "127.0.0.1"
    await one.close()


async def test_name_without_address_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, answers())
    with pytest.raises(CacheError, match="the name has no address"):
        await Memcached.connect(Address("cache", 11211))


async def test_unknown_name_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    use(monkeypatch, unknown)
    with pytest.raises(CacheError, match=r"unknown host \(Name or service not known\)"):
        await Memcached.connect(Address("cache", 11211))


@pytest.mark.parametrize("name", ["cache..internal", "c" * 64 + ".internal", ".cache"])
async def test_impossible_name_fails_at_once(name: str) -> None:
    """The look-up fails with a UnicodeError, before any name server is asked."""
    started = time.monotonic()
    with pytest.raises(CacheError, match="unknown host"):
        await Memcached.connect(Address(name, 11211))
    assert time.monotonic() - started < 0.5


async def test_hanging_name_server_is_given_up(hanging: None) -> None:
    started = time.monotonic()
    async with turning_loop():
        with pytest.raises(CacheError, match="name not resolved within 1 s"):
            await Memcached.connect(Address("cache", 11211))
    assert time.monotonic() - started < 1.5


def test_hanging_name_server_does_not_delay_the_end(hanging: None) -> None:
    """`asyncio.run` waits for the threads of the loop's own executor."""

    async def give_up() -> None:
        with pytest.raises(CacheError):
            await Memcached.connect(Address("cache", 11211))

    started = time.monotonic()
    asyncio.run(give_up())
    assert time.monotonic() - started < 1.5


def test_late_answer_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name server answers when the caller, or even the event loop, is gone."""
    end = threading.Event()
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)

    def look_up(*_: object, **__: object) -> list[tuple[Any, ...]]:
        end.wait(30)
        return answers("127.0.0.1")("cache", 11211)

    use(monkeypatch, look_up)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await resolve(Address("cache", 11211))

    asyncio.run(give_up())
    (thread,) = (each for each in threading.enumerate() if each.name == "resolve")
    end.set()
    thread.join(5)
    assert failures == []
