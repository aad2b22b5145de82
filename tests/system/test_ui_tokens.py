"""The page `/ui` in a real browser: it asks for a token when the server wants one."""

import asyncio
import time

import pytest
from playwright.async_api import Browser, Route

from tests.support import running_server
from tests.support.browser import WITHOUT_MEMCACHED, LivePage, live_page, publish
from tests.support.jwts import SECRET, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN, USER = "admin-0123456789", "user-0123456789a"
WITH_ADMIN = {**WITHOUT_MEMCACHED, "AIONOTIFY_ADMIN_TOKEN": ADMIN}
WITH_BOTH = {**WITH_ADMIN, "AIONOTIFY_USER_TOKEN": USER}
EXPIRY = "document.getElementById('expiry').textContent"
WITH_SECRET = {**WITHOUT_MEMCACHED, "AIONOTIFY_JWT_SECRET": SECRET}


def ends_in(seconds: int) -> int:
    """Return the end of a token."""
    return int(time.time()) + seconds


async def enter(page: LivePage, text: str) -> None:
    """Type a token into the form that the page shows, and submit it."""
    await page.page.wait_for_selector("#token-form:not([hidden])")
    await page.page.fill("#token", text)
    await page.page.press("#token", "Enter")


async def test_publishing_asks_for_admin_token(chromium: Browser) -> None:
    """Once: the message is then sent, and the page keeps the token, but stores it nowhere."""
    async with (
        running_server(WITH_ADMIN) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        assert not await page.page.is_visible("#token-form")
        await page.publish("first")
        await page.page.wait_for_selector("#token-reason >> text=Publishing needs a token.")
        assert await page.page.evaluate("document.activeElement.id") == "token"
        await enter(page, "wrong-0123456789")
        await page.page.wait_for_selector("#published.wrong >> text=did not accept the token")
        assert await page.page.input_value("#message") == "first"
        await page.page.click("#publish")
        await page.page.wait_for_selector("#token-reason >> text=Publishing needs another token.")
        await enter(page, ADMIN)
        await page.wait_for_rows(["first"])
        assert await page.page.input_value("#message") == ""
        await page.publish("second")
        await page.wait_for_rows(["second", "first"])
        assert not await page.page.is_visible("#token-form")
        stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        assert ADMIN not in await page.page.evaluate(stored)
        assert ADMIN not in await page.page.content()
        assert not any(ADMIN in each for each in page.urls)
        assert page.unexpected_errors() == []


async def test_declined_token_sends_nothing(chromium: Browser) -> None:
    async with (
        running_server(WITH_ADMIN) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        await page.publish("kept")
        await page.page.click("text=Not now")
        await page.page.wait_for_selector("#published.wrong >> text=Not sent")
        await page.page.type("#message", "!")
        assert await page.page.inner_text("#published") == ""
        assert await page.page.input_value("#message") == "kept!"
        assert await page.rows() == []
        assert page.unexpected_errors() == []


async def test_subscribing_asks_for_user_token(chromium: Browser) -> None:
    """For all topics once, and again if it is wrong; "Not now" leaves a button to enter it."""
    async with (
        running_server(WITH_BOTH) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.page.wait_for_selector("#token-reason >> text=This server needs a token")
        await page.page.wait_for_selector("#state-text >> text=Waiting for a token")
        await page.page.click("text=Not now")
        await page.wait_for_state("rejected")
        assert await page.page.inner_text("#state-text") == "A token is required"
        assert not await page.page.is_visible("#token-form")
        await page.page.click("#retry >> text=Enter a token")
        await enter(page, "wrong-0123456789")
        await page.page.wait_for_selector("#token-reason >> text=did not accept the token")
        assert await page.page.inner_text("#state-text") == "The server rejected the token"
        await enter(page, USER)
        await page.wait_for_state("connected")
        await page.page.fill("#topic", "other")
        await page.page.press("#topic", "Enter")
        await page.wait_for_state("connected")
        assert not await page.page.is_visible("#token-form")
        assert '-H "Authorization: Bearer $TOKEN"' in await page.page.inner_text("#example")
        assert not any(USER in each for each in page.urls)
        assert page.unexpected_errors() == []


async def test_all_topics_share_one_question(chromium: Browser) -> None:
    """Remembered topics wait for the same token, and then count what is published."""
    async with (
        running_server(WITH_BOTH) as server,
        live_page(chromium, f"{server.url}/ui#one") as page,
    ):
        await enter(page, ADMIN)
        await page.wait_for_state("connected")
        await page.page.goto(f"{server.url}/ui#two")
        await page.wait_for_state("connected")
        await page.page.reload()
        await enter(page, ADMIN)
        await page.wait_for_state("connected")
        assert not await page.page.is_visible("#token-form")
        await page.wait_until("document.querySelectorAll('#topics .trouble').length === 0")
        await page.wait_until("document.getElementById('clients').textContent !== '0'")
        await page.page.wait_for_selector('#topics [data-view="one"]')
        await publish(server, "x", topic="one", token=ADMIN)
        await page.page.wait_for_selector('#topics a[data-view="one"] .count >> text=1')
        assert page.unexpected_errors() == []


async def test_late_refusal_uses_token_entered_meanwhile(chromium: Browser) -> None:
    """A connection without a token is refused after the user has entered one for another."""
    entered = asyncio.Event()

    async def hold(route: Route) -> None:
        await entered.wait()
        await route.continue_()

    async with (
        running_server(WITH_BOTH) as server,
        live_page(chromium, f"{server.url}/ui#late") as page,
    ):
        await page.page.route("**/notifications?topic=late", hold)
        await page.page.goto(f"{server.url}/ui#main")
        await page.page.reload()
        await enter(page, USER)
        await page.wait_for_state("connected")
        entered.set()
        await page.page.click('#topics a[data-view="late"]')
        await page.wait_for_state("connected")
        assert not await page.page.is_visible("#token-form")
        assert page.unexpected_errors() == []


async def test_expiry_is_shown(chromium: Browser) -> None:
    """In minutes, as the server says it, and that of the new token after a change."""
    async with (
        running_server(WITH_SECRET) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        for minutes in (30, 90):
            if minutes == 90:
                await page.page.click("#token-change")
                await page.page.wait_for_selector("#token-reason >> text=from now on")
            await enter(page, token(exp=ends_in(60 * minutes)))
            await page.page.wait_for_selector(f"#expiry >> text=expires in {minutes} min")
            await page.wait_for_state("connected")
        assert page.unexpected_errors() == []


async def test_expired_token_is_asked_for(chromium: Browser) -> None:
    """After the server has ended the connection; and nothing is lost meanwhile."""
    async with (
        running_server(WITH_SECRET) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await enter(page, token(exp=ends_in(3)))
        await page.wait_for_state("connected")
        await page.page.wait_for_selector("#token-reason >> text=has expired")
        await page.page.wait_for_selector("#expiry >> text=in use")
        await publish(server, *"abcdefgh", token=token())
        await enter(page, token())
        await page.wait_for_state("connected")
        await page.wait_for_rows(list("hgfedcba"))
        assert page.unexpected_errors() == []


async def test_token_is_renewed_before_it_expires(chromium: Browser) -> None:
    """The connection stays, and so does the focus of a user who is typing."""
    async with (
        running_server(WITH_SECRET) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.page.clock.install()
        await page.page.reload()
        await enter(page, token(exp=ends_in(60)))
        await page.wait_for_state("connected")
        sockets = len([each for each in page.urls if each.startswith("ws")])
        await page.page.focus("#message")
        await page.page.clock.fast_forward(50_000)
        await page.page.wait_for_selector("#token-reason >> text=expires soon")
        assert await page.page.evaluate("document.activeElement.id") == "message"
        await enter(page, token(exp=ends_in(60 * 60)))
        await page.wait_until(f"parseInt({EXPIRY}.slice('expires in'.length)) > 50")
        assert await page.page.get_attribute("#state", "data-state") == "connected"
        assert len([each for each in page.urls if each.startswith("ws")]) == sockets
        assert page.unexpected_errors() == []


async def test_topic_outside_of_scope_ends_no_other(chromium: Browser) -> None:
    """The server's sentence says what is missing; other topics go on."""
    scoped = token("subscribe:mine publish:mine")
    async with (
        running_server(WITH_SECRET) as server,
        live_page(chromium, f"{server.url}/ui#mine") as page,
    ):
        await enter(page, scoped)
        await page.wait_for_state("connected")
        await page.page.goto(f"{server.url}/ui#theirs")
        await page.wait_for_state("rejected")
        assert "subscribe:theirs" in await page.page.inner_text("#state-text")
        await page.publish("not allowed")
        await page.page.wait_for_selector("#published.wrong >> text=publish:theirs")
        await publish(server, "still there", topic="mine", token=scoped)
        await page.page.wait_for_selector('#topics a[data-view="mine"] .count >> text=1')
        await page.page.click('#topics a[data-view="mine"]')
        await page.wait_for_rows(["still there"])
        await page.page.wait_for_selector('#topics a[data-view="theirs"] >> text=no access')
        assert page.unexpected_errors() == []
