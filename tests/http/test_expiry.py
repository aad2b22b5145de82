"""Tokens that expire while a client is connected, over real sockets."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

import aionotify.expiry as module
from aionotify.encoders import to_rfc3339
from aionotify.keys import EXPIRY, HUB
from tests.support import eventually
from tests.support.access import ADMIN
from tests.support.app import RunningApp, Serve
from tests.support.jwts import SECRET, token

pytestmark = pytest.mark.both_loops


class Clock:
    """The time of day as the server sees it: the true one, and `ahead` seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return time.time() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let a test turn the clock of the tokens of connected clients."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
async def running(serve: Serve) -> RunningApp:
    """Start an application with a secret."""
    return await serve(jwt_secrets=(SECRET,), admin_tokens=(ADMIN,))


def ends_in(seconds: int) -> int:
    """Return the end of a token."""
    return int(time.time()) + seconds


async def receive(client: ClientConnection) -> dict[str, Any]:
    """Return the next frame."""
    found: dict[str, Any] = json.loads(await asyncio.wait_for(client.recv(), 5))
    return found


async def closed_with(client: ClientConnection) -> tuple[int, str]:
    """Wait until the server closes, and return code and reason."""
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(client.recv(), 5)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def test_websocket_is_closed_with_3000(running: RunningApp, clock: Clock) -> None:
    end = ends_in(60)
    text = token("subscribe:news", exp=end)
    async with running.client(f"?topic=news&format=json&token={text}") as client:
        subscribed = await receive(client)
        assert list(subscribed) == ["type", "topics", "id", "expires"]
        assert subscribed["expires"] == to_rfc3339(end)
        await running.publish("Hello", topic="news")
        assert (await receive(client))["message"] == "Hello"
        clock.ahead = 61
        assert await closed_with(client) == (3000, "the token expired")
    await eventually(lambda: running.app[HUB].connected == 0)
    assert running.app[HUB].stats.closed[3000] == 1
    assert not running.app[EXPIRY].clients


async def test_text_client_is_closed_too(running: RunningApp, clock: Clock) -> None:
    text = token("subscribe:* publish:*", exp=ends_in(60))
    async with running.client(f"?client=admin&token={text}") as client:
        await client.send("Hello")
        assert await asyncio.wait_for(client.recv(), 5) == "[Notification] Hello"
        clock.ahead = 61
        assert await closed_with(client) == (3000, "the token expired")


async def test_event_stream_ends_and_is_refused_afterwards(
    running: RunningApp, clock: Clock
) -> None:
    end = ends_in(2)
    url = f"http://127.0.0.1:{running.port}/events?topic=news"
    headers = {"Authorization": f"Bearer {token('subscribe:news', exp=end)}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(url) as response:
            assert response.status == 200
            body = (await asyncio.wait_for(response.read(), 6)).decode()
        assert f'"expires":"{to_rfc3339(end)}"' in body
        async with session.get(url) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert not running.app[EXPIRY].clients


async def test_static_tokens_do_not_expire(running: RunningApp, clock: Clock) -> None:
    async with running.client(f"?format=json&token={ADMIN}") as client:
        assert list(await receive(client)) == ["type", "topics", "id"]
        assert not running.app[EXPIRY].clients


async def test_renewed_token_keeps_the_connection(running: RunningApp, clock: Clock) -> None:
    first = token("subscribe:news", exp=ends_in(60))
    async with running.client(f"?topic=news&format=json&token={first}") as client:
        await receive(client)
        later = ends_in(3600)
        await client.send(json.dumps({"token": token("subscribe:n*", exp=later)}))
        assert await receive(client) == {"type": "authorized", "expires": to_rfc3339(later)}
        clock.ahead = 61
        await running.app[EXPIRY].check()
        await running.publish("Hello", topic="news")
        assert (await receive(client))["message"] == "Hello"
        clock.ahead = 3601
        assert await closed_with(client) == (3000, "the token expired")


@pytest.mark.parametrize(
    "others",
    [
        {"sub": "43"},
        {"scope": "subscribe:other"},
        {"exp": 1},
        {"key": "x" * 32},
        {"key": None, "algorithm": "none"},
    ],
    ids=str,
)
async def test_refused_renewal_moves_nothing(
    running: RunningApp, clock: Clock, others: dict[str, Any]
) -> None:
    first = token("subscribe:news", exp=ends_in(60))
    async with running.client(f"?topic=news&format=json&token={first}") as client:
        await receive(client)
        new = token(**{"scope": "subscribe:news", "exp": ends_in(3600), **others})
        await client.send(json.dumps({"token": new}))
        reply = await receive(client)
        assert list(reply) == ["type", "detail"]
        assert new not in reply["detail"]
        clock.ahead = 61
        assert await closed_with(client) == (3000, "the token expired")


async def test_renewal_changes_the_right_to_publish(running: RunningApp, clock: Clock) -> None:
    both = "subscribe:news publish:news"
    query = f"?client=admin&topic=news&format=json&token={token(both)}"
    async with running.client(query) as client:
        await receive(client)
        await client.send('{"message":"1"}')
        assert {(await receive(client))["type"] for _ in range(2)} == {"accepted", "notification"}
        await client.send(json.dumps({"token": token("subscribe:news")}))
        assert (await receive(client))["type"] == "authorized"
        await client.send('{"message":"2"}')
        assert (await receive(client))["type"] == "error"


async def test_client_that_asked_to_be_a_user_stays_one(running: RunningApp) -> None:
    async with running.client(f"?topic=news&format=json&token={token()}") as client:
        await receive(client)
        for message in ("Hello", "admin:Hello"):
            await client.send(json.dumps({"message": message}))
            assert await receive(client) == {
                "type": "error",
                "detail": "You are not authorized to send notifications.",
            }


async def test_client_that_leaves_is_forgotten(running: RunningApp) -> None:
    async with running.client(f"?format=json&token={token()}") as client:
        await receive(client)
        assert len(running.app[EXPIRY].clients) == 1
    await eventually(lambda: not running.app[EXPIRY].clients)


async def test_rejected_client_is_not_watched(serve: Serve) -> None:
    running = await serve(jwt_secrets=(SECRET,), max_connections=1)
    url = f"http://127.0.0.1:{running.port}/events"
    headers = {"Authorization": f"Bearer {token()}"}
    async with running.client(f"?token={token()}"), aiohttp.ClientSession() as session:
        async with session.get(url, headers=headers) as response:
            assert response.status == 503
        assert len(running.app[EXPIRY].clients) == 1
