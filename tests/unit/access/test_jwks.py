"""Keys from a URL: fetched rarely, kept when the URL is unreachable, and never blindly trusted."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import aionotify.access.jwks as module
from aionotify.access.jwks import INTERVAL, LIFETIME, KeySet
from aionotify.errors import InvalidToken, Unavailable
from aionotify.stats import RejectReason
from tests.support import eventually
from tests.support.jwts import P256_KEY, RSA_KEY, jwk

Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]

FIRST, SECOND = jwk(P256_KEY, kid="first"), jwk(RSA_KEY, kid="second")


class Clock:
    """Replaces the module `time`: monotonic time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


class Provider:
    """A real server with a key set, and what it does in place of sending it."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.fault: Handler | None = None
        self.requests = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send the keys, or show the fault."""
        self.requests += 1
        if self.fault is not None and request.path == "/jwks.json":
            return await self.fault(request)
        return web.json_response({"keys": self.keys})


@asynccontextmanager
async def providing(*keys: dict[str, Any]) -> AsyncIterator[Provider]:
    """Run a provider of `keys`."""
    provider = Provider(*keys)
    app = web.Application()
    app.router.add_get("/{name}", provider.answer)
    async with TestServer(app) as server:
        provider.url = str(server.make_url("/jwks.json"))
        yield provider


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the key set."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


async def names(keys: KeySet, *kids: str) -> list[bool]:
    """Return for each kid whether there is a key."""
    found = []
    for kid in kids:
        try:
            found.append(bool(await keys.keys_for(kid)))
        except InvalidToken:
            found.append(False)
    return found


async def test_keys_are_found_by_name(clock: Clock) -> None:
    async with providing(FIRST, SECOND) as provider:
        keys = KeySet(provider.url)
        (first,) = await keys.keys_for("first")
        (second,) = await keys.keys_for("second")
        assert (first.algorithm, second.algorithm) == ("ES256", "RS256")
        with pytest.raises(InvalidToken, match="no kid, and the key set has several keys"):
            await keys.keys_for(None)
        assert provider.requests == 1


async def test_only_key_needs_no_name(clock: Clock) -> None:
    async with providing(FIRST, jwk(RSA_KEY, use="enc")) as provider:
        assert len(await KeySet(provider.url).keys_for(None)) == 1


async def test_unknown_kid_flood_is_one_fetch(clock: Clock) -> None:
    async with providing(FIRST) as provider:
        keys = KeySet(provider.url)
        assert await names(keys, "first") == [True]
        clock.now += INTERVAL
        for number in range(50):
            clock.now += INTERVAL / 51
            assert await names(keys, f"made-up-{number}") == [False]
        assert provider.requests == 2
        provider.keys.append(SECOND)
        assert await names(keys, "second") == [False]
        clock.now += INTERVAL
        assert await names(keys, "second") == [True]


async def test_keys_are_fetched_again_after_lifetime(clock: Clock) -> None:
    """A key that was revoked meanwhile is gone."""
    async with providing(FIRST, SECOND) as provider:
        keys = KeySet(provider.url)
        assert await names(keys, "first", "second") == [True, True]
        provider.keys = [FIRST]
        clock.now += LIFETIME - 1
        assert await names(keys, "second") == [True]
        clock.now += 2
        assert await names(keys, "second") == [False]


async def test_concurrent_requests_share_a_fetch(clock: Clock) -> None:
    released = asyncio.Event()

    async def late(request: web.Request) -> web.Response:
        await released.wait()
        return web.json_response({"keys": [FIRST]})

    async with providing() as provider:
        provider.fault = late
        keys = KeySet(provider.url)
        waiting = [asyncio.create_task(names(keys, "first")) for _ in range(20)]
        await eventually(lambda: provider.requests == 1)
        waiting[0].cancel()  # one request that gives up must not end the fetch of the others
        released.set()
        assert await asyncio.gather(*waiting[1:]) == [[True]] * 19
        assert provider.requests == 1


async def test_stop_cancels_a_fetch(clock: Clock) -> None:
    async def forever(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with providing() as provider:
        provider.fault = forever
        keys = KeySet(provider.url)
        task = asyncio.create_task(keys.refresh())
        await eventually(lambda: provider.requests == 1)
        await keys.stop()
        with pytest.raises(asyncio.CancelledError):
            await task
        await KeySet(provider.url).stop()  # nothing is under way


async def hang(request: web.Request) -> web.Response:
    await asyncio.sleep(5)
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b" ")
        await asyncio.sleep(0.02)
    return response


async def garbage(request: web.Request) -> web.Response:
    return web.Response(body=b"\xff\0garbage")


async def nested(request: web.Request) -> web.Response:
    return web.Response(text="[" * 20_000)


async def too_big(request: web.Request) -> web.Response:
    return web.json_response({"keys": [FIRST], "padding": "x" * module.MAX_BYTES})


async def empty(request: web.Request) -> web.Response:
    return web.json_response({"keys": []})


async def error(request: web.Request) -> web.Response:
    return web.json_response({"keys": [FIRST]}, status=500)


async def cut(request: web.Request) -> web.StreamResponse:
    assert request.transport
    request.transport.abort()
    return web.Response()


async def to_plain_http(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "http://192.0.2.1/jwks.json"})


async def in_circles(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "jwks.json"})


async def to_a_file(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "file:///etc/passwd"})


FAULTS: dict[Handler, str] = {
    hang: "no answer within 0.2 s",
    drip: "no answer within 0.2 s",
    garbage: "codec can",
    nested: "recursion",
    too_big: "more than 65536 bytes",
    empty: "no usable key in it",
    error: "status 500",
    cut: "disconnect",
    to_plain_http: "it redirects to http://192.0.2.1/jwks.json",
    in_circles: "it redirects too often",
    to_a_file: "it redirects to file:///etc/passwd",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_fault_keeps_old_keys(
    fault: Handler, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    caplog.set_level(logging.INFO)
    async with providing(FIRST) as provider:
        provider.fault = fault
        keys = KeySet(provider.url)
        for _ in range(3):
            with pytest.raises(Unavailable) as refused:
                await keys.keys_for("first")
        assert refused.value.reason is RejectReason.KEYS
        # aiohttp's client repeats a request whose connection was cut; three redirects are followed.
        assert provider.requests == {cut.__name__: 2, in_circles.__name__: 4}.get(fault.__name__, 1)
        provider.fault = None
        clock.now += module.FIRST_INTERVAL
        assert await names(keys, "first") == [True]
        provider.fault = fault
        for _ in range(2):
            clock.now += LIFETIME + 1
            assert await names(keys, "first") == [True]
    messages = [each.getMessage() for each in caplog.records if each.name == module.__name__]
    failed, fetched, failed_again = messages
    assert FAULTS[fault] in failed
    assert failed.endswith("): JWTs are answered with 503, retrying on request")
    assert fetched == f"fetched 1 keys for tokens from {provider.url}"
    assert failed_again.endswith("): the old ones stay valid, retrying on request")


async def test_redirect_is_followed(clock: Clock) -> None:
    async def moved(request: web.Request) -> web.Response:
        return web.Response(status=308, headers={"Location": "/other.json"})

    async with providing(FIRST) as provider:
        provider.fault = moved
        assert await names(KeySet(provider.url), "first") == [True]


async def test_query_of_url_is_not_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    await KeySet("http://127.0.0.1:1/jwks.json?key=hidden").refresh()
    assert "http://127.0.0.1:1/jwks.json (" in caplog.text
    assert "hidden" not in caplog.text
