"""The JavaScript client, when its token expires, against servers that follow a script."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from aiohttp import web

from tests.support import running_server
from tests.support.client_page import ClientPage, OtherSite
from tests.support.environment import without_memcached
from tests.support.peer import (
    Peer,
    Script,
    notification_frame,
    running_peer,
    running_stream_peer,
    sends,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

WATCH_INTERVAL = 5
"""Seconds between the looks of the client at its connection, and at its token."""

ASK = "token({ renew }) { asked.push(renew); return renew ? `new${asked.length}` : 'old'; }"
"""A function of the application that counts the tokens it has returned."""

RESUMED = ["connecting", "connected", "waiting", "connecting", "connected"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module(site: OtherSite) -> AsyncIterator[str]:
    """Serve the client itself. The value is the address of that server."""
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with running_server(environment) as server:
        yield server.url


def subscribed(expires: str | None = None, type: str = "subscribed") -> str:
    """Return what a client is sent once it is caught up, or that its token was renewed."""
    frame = {"type": type, "topics": ["main"], "id": "5"}
    return json.dumps(frame if expires is None else {**frame, "expires": expires})


async def in_seconds(page: ClientPage, seconds: int) -> str:
    """Return a time of the page's clock as RFC 3339."""
    return str(await page.read(f"new Date(Date.now() + {seconds * 1000}).toISOString()"))


async def start(page: ClientPage, module: str, peer: Peer, token: str = ASK) -> None:
    """Subscribe to `peer`, over the transport that it has."""
    await page.read("window.asked = []")
    await page.start(module, token, url=peer.url)


@asynccontextmanager
async def connected(
    page: ClientPage, module: str, script: Script, token: str = ASK
) -> AsyncIterator[Peer]:
    """Connect the page to a server that follows `script`, until the end of the context."""
    async with running_peer(script) as peer:
        await start(page, module, peer, token)
        try:
            await page.wait_for_state("connected")
            yield peer
        finally:
            await page.read("subscription.close()")  # the server waits for its connections


async def turn(page: ClientPage, steps: int, seconds: int = WATCH_INTERVAL) -> None:
    """Turn the clock of the page on, so that the client looks once per step."""
    for _ in range(steps):
        await page.page.clock.fast_forward(seconds * 1000)
        # The clock jumps, but data that is on its way needs the time of a request.
        await page.read("fetch(location).then(() => null)")


async def expire(ws: web.WebSocketResponse) -> None:
    """Publish, and close because the token has expired."""
    await sends(notification_frame("one", 7))(ws)
    await ws.close(code=3000)


async def stay(ws: web.WebSocketResponse) -> None:
    """Keep the connection, and answer nothing."""
    await sends(subscribed())(ws)
    await ws.receive()


def renewable(expires: str, later: str, renewed: list[str]) -> Script:
    """Return a script for a token that expires, which appends the tokens that it is sent."""

    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_str(subscribed(expires))
        async for frame in ws:
            asked = json.loads(frame.data)
            if "token" in asked:
                renewed.append(asked["token"])
                await ws.send_str(subscribed(later, "authorized"))
            else:
                await ws.send_str('{"type":"error","detail":"Empty notifications are not sent."}')

    return script


async def test_close_3000_resumes_with_new_token(site: OtherSite, module: str) -> None:
    async def first(ws: web.WebSocketResponse) -> None:
        await ws.send_str(subscribed())
        await expire(ws)

    async with running_peer(first, stay) as peer, site.page() as page:
        await start(page, module, peer)
        await page.wait_until("states.length === 5")
        assert await page.names() == RESUMED
        assert (await page.read("states[2]"))["reason"] == "The token has expired."
        assert await page.read("asked") == [False, True]
        assert peer.tokens == ["old", "new2"]
        assert [each.get("since") for each in peer.queries] == [None, "7"]


@pytest.mark.parametrize("token", ["token: 'old'", "token: () => 'old'"])
async def test_expired_token_without_another_is_rejected(
    site: OtherSite, module: str, token: str
) -> None:
    async with running_peer(expire) as peer, site.page() as page:
        await start(page, module, peer, token)
        await page.wait_for_state("rejected")
        state = await page.state()
        assert (state["reason"], state["status"]) == ("The token has expired.", 401)
        assert peer.tokens == ["old"]


async def test_token_is_renewed_on_the_open_connection(site: OtherSite, module: str) -> None:
    """A quarter of its life before the end, but at most a minute."""
    renewed: list[str] = []
    async with site.page(with_clock=True) as page:
        script = renewable(await in_seconds(page, 120), await in_seconds(page, 3600), renewed)
        async with connected(page, module, script) as peer:
            await turn(page, steps=1, seconds=70)
            assert renewed == []
            await turn(page, steps=5)
            assert renewed == ["new2"]
            await turn(page, steps=1, seconds=3500 - 95)
            assert renewed == ["new2"]
            await turn(page, steps=10)
            assert renewed[:2] == ["new2", "new3"]
            assert await page.names() == ["connecting", "connected"]
            assert peer.tokens == ["old"]


async def test_wrong_clock_causes_no_renewals(site: OtherSite, module: str) -> None:
    """The server has just accepted the token, so it cannot be over."""
    renewed: list[str] = []
    async with site.page(with_clock=True) as page:
        past = await in_seconds(page, -3600)
        async with connected(page, module, renewable(past, past, renewed)):
            await turn(page, steps=4)
            assert (renewed, await page.read("asked")) == ([], [False])


async def test_failed_renewal_keeps_connection(site: OtherSite, module: str) -> None:
    """Until the server ends it, when the function is asked again."""
    renewed: list[str] = []
    async with site.page(with_clock=True) as page:
        script = renewable(await in_seconds(page, 40), "", renewed)
        fails = "token({ renew }) { asked.push(renew); if (renew) throw 0; return 'old'; }"
        async with connected(page, module, script, fails):
            await turn(page, steps=8)
            assert (renewed, await page.read("asked")) == ([], [False, True])
            assert await page.names() == ["connecting", "connected"]


async def test_stream_that_ends_gets_new_token(site: OtherSite, module: str) -> None:
    """The server ends it when the token expires, and rejects the old one."""
    first = [subscribed(), notification_frame("one", 7)]
    async with (
        running_stream_peer(first, 401, [subscribed()], held=2) as peer,
        site.page() as page,
    ):
        await page.read("window.asked = []")
        await page.start(module, ASK, url=peer.url, transport="events")
        await page.wait_until("states.length === 5")
        assert await page.names() == RESUMED
        assert await page.read("asked") == [False, False, True]
        assert peer.tokens == ["old", "old", "new3"]
        assert [each.get("since") for each in peer.queries] == [None, "7", "7"]


async def test_stream_is_replaced_before_token_expires(site: OtherSite, module: str) -> None:
    """A stream cannot be sent a token; the new one resumes after the old one."""
    async with site.page(with_clock=True) as page:
        first = [subscribed(await in_seconds(page, 40)), notification_frame("one", 7)]
        async with running_stream_peer(first, [subscribed()], held=0) as peer:
            await page.read("window.asked = []")
            await page.start(module, ASK, url=peer.url, transport="events")
            await page.wait_for_messages("one")
            await turn(page, steps=7)
            await page.wait_until("states.length === 4")
            assert await page.names() == ["connecting", "connected"] * 2
            assert await page.read("asked") == [False, True]
            assert peer.tokens == ["old", "new2"]
            assert [each.get("since") for each in peer.queries] == [None, "7"]
