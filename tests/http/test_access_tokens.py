"""Tokens over HTTP and WebSocket: routes without one stay closed, and only the token counts."""

import asyncio
import json

import pytest
from aiohttp import web
from websockets.asyncio.client import connect

from aionotify import Settings, create_app
from tests.support.access import (
    ADMIN,
    NO_MEMCACHED,
    OLD_ADMIN,
    USER,
    Serve,
    ask,
    start,
    with_token,
)


async def test_forgotten_route_is_closed(aiohttp_server: Serve) -> None:
    """A route that was not registered with `allow_anonymous` needs a token."""
    app = create_app(
        Settings(memcached_hosts=NO_MEMCACHED, admin_tokens=(ADMIN,), user_tokens=(USER,))
    )

    async def respond(request: web.Request) -> web.Response:
        return web.Response()

    app.router.add_get("/later", respond)
    app.router.add_put("/later", respond)
    port = (await aiohttp_server(app)).port
    assert port is not None
    user, admin = {"Authorization": f"Bearer {USER}"}, {"Authorization": f"bearer  {ADMIN}"}
    assert (await ask(port, "GET", "/later", {})).status == 401
    assert (await ask(port, "HEAD", "/later", {})).status == 401
    assert (await ask(port, "GET", "/later", user)).status == 200
    assert (await ask(port, "PUT", "/later", user)).status == 401
    assert (await ask(port, "PUT", "/later", admin)).status == 200


@pytest.mark.parametrize("token", [ADMIN, OLD_ADMIN])
async def test_each_of_several_tokens_is_accepted(aiohttp_server: Serve, token: str) -> None:
    port = await start(aiohttp_server, Settings(admin_tokens=(ADMIN, OLD_ADMIN)))
    for place in ("header", "query"):
        target, headers = with_token(place, token, "/notifications")
        assert (await ask(port, "POST", target, headers)).status == 201


@pytest.mark.parametrize(
    "token",
    ["", ADMIN[:-1], f"{ADMIN}x", ADMIN.upper(), f"{ADMIN},{OLD_ADMIN}", "%ED%A0%80", "x" * 7000],
)
async def test_similar_token_is_rejected(aiohttp_server: Serve, token: str) -> None:
    port = await start(aiohttp_server, Settings(admin_tokens=(ADMIN, OLD_ADMIN)))
    for place in ("header", "query"):
        target, headers = with_token(place, token, "/notifications")
        assert (await ask(port, "POST", target, headers)).status == 401
    basic = {"Authorization": f"Basic {ADMIN}"}
    assert (await ask(port, "POST", "/notifications", basic)).status == 401


async def test_admin_prefix_needs_token(aiohttp_server: Serve) -> None:
    """With an admin token configured, `admin:` no longer lets a user publish."""
    port = await start(aiohttp_server, Settings(admin_tokens=(ADMIN,)))
    url = f"ws://127.0.0.1:{port}/ws"
    refusal = "You are not authorized to send notifications."
    async with (
        connect(url) as user,
        connect(f"{url}?token={ADMIN}&format=json") as listener,
        connect(f"{url}?client=admin&token={ADMIN}") as admin,
    ):
        for text in ("admin:Hello", "Hello"):
            await user.send(text)
            assert await asyncio.wait_for(user.recv(), 5) == refusal
        assert json.loads(await asyncio.wait_for(listener.recv(), 5))["type"] == "subscribed"
        await listener.send('{"message":"admin:Hello"}')
        reply = json.loads(await asyncio.wait_for(listener.recv(), 5))
        assert reply == {"type": "error", "detail": refusal}
        await admin.send("admin:from the admin")
        for each in (user, admin):
            received = await asyncio.wait_for(each.recv(), 5)
            assert received == "[Notification] from the admin"
