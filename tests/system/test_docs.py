"""The page `/docs` in a real browser: snippets to copy, and *Try it* against the server."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser

from aionotify import create_app
from tests.support import alone, running_server
from tests.support.browser import WITHOUT_MEMCACHED, LivePage, live_page, publish

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOKS: dict[str, dict[str, Any]] = {
    f"{scheme}-{width}": {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 320))
}

ADMIN = "admin-0123456789"
ALL_OPEN = "for (const each of document.querySelectorAll('details')) each.open = true"
STORED = "localStorage.length + sessionStorage.length + document.cookie.length"


async def unfold(page: LivePage, id: str) -> None:
    """Open the form of an operation, as a user does."""
    await page.page.click(f"#{id} .trial summary")


async def wait_for_answer(page: LivePage, id: str, text: str) -> None:
    """Wait until the answer of an operation has a text."""
    await page.wait_until(f"document.querySelector('#{id} .answer').textContent.includes({text!r})")


async def test_requests_are_answered(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/docs") as page,
    ):
        await unfold(page, "publish")
        await page.page.fill("#publish-topic", "news")
        await page.page.select_option("#publish-type", "application/json")
        await page.page.click("#publish .try button")
        await wait_for_answer(page, "publish", "201 Created")
        await wait_for_answer(page, "publish", '"title":"Your order"')
        await unfold(page, "retained")
        await page.page.fill("#retained-topic", "news")
        await page.page.press("#retained-topic", "Enter")
        await wait_for_answer(page, "retained", "Order 42 has been shipped")
        await page.page.fill("#retained-topic", "a b")
        await page.page.press("#retained-topic", "Enter")
        await wait_for_answer(page, "retained", "400 Bad Request")
        assert page.unexpected_errors() == []


@pytest.mark.parametrize("id", ["connect", "stream"])
async def test_subscription_shows_notifications_until_it_is_ended(
    chromium: Browser, id: str
) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/docs") as page,
    ):
        await unfold(page, id)
        await page.page.click(f"#{id} .try button")
        await wait_for_answer(page, id, "connected")
        await publish(server, "<b>live</b>")
        await wait_for_answer(page, id, "<b>live</b>")
        assert any("/ws?" in each for each in page.urls) == (id == "connect")
        await page.page.click(f"#{id} .try button")
        await wait_for_answer(page, id, "closed")
        assert await page.page.inner_text(f"#{id} .try button") == "Connect"
        assert page.errors == []


async def test_token_is_sent_and_never_stored(chromium: Browser) -> None:
    environment = {
        **WITHOUT_MEMCACHED,
        "AIONOTIFY_ADMIN_TOKEN": ADMIN,
        "AIONOTIFY_USER_TOKEN": "user-0123456789a",
    }
    async with (
        running_server(environment) as server,
        live_page(chromium, f"{server.url}/docs") as page,
    ):
        await unfold(page, "publish")
        await page.page.click("#publish .try button")
        await wait_for_answer(page, "publish", "401 Unauthorized")
        await page.page.fill("#token", ADMIN)
        await page.page.click("#publish .try button")
        await wait_for_answer(page, "publish", "201 Created")
        for id in ("connect", "stream"):
            await unfold(page, id)
            await page.page.click(f"#{id} .try button")
            await wait_for_answer(page, id, "connected")
        assert not any(ADMIN in each for each in page.urls)
        assert await page.page.evaluate(STORED) == 0
        await page.page.reload()
        assert await page.page.input_value("#token") == ""


async def test_snippets_name_this_server_and_can_be_copied(chromium: Browser) -> None:
    """The chosen language is shown in all cards."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/docs") as page,
    ):
        await page.page.click("#publish .languages >> text=Python")
        shown = page.page.locator("#retained .sample:visible")
        assert await shown.get_attribute("data-language") == "Python"
        assert server.url in await shown.inner_text()
        await page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await shown.locator(".copy").click()
        await page.wait_until(
            "document.querySelector('#retained .sample:not([hidden]) .copy')"
            ".textContent === 'Copied'"
        )
        copied = await page.page.evaluate("navigator.clipboard.readText()")
        assert copied == await shown.locator("code").inner_text()
        assert "localhost:8000" not in await page.page.inner_text("main")


async def test_link_unfolds_a_type(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/docs") as page,
    ):
        assert not await page.page.is_visible("#type-Gap")
        await page.page.click('#stream a[href="#type-Gap"]')
        await page.page.wait_for_selector("#type-Gap", state="visible")


async def test_page_works_below_path_prefix(chromium: Browser) -> None:
    outer = web.Application()
    outer.add_subapp("/notify", create_app(alone()))
    async with (
        TestServer(outer) as server,
        live_page(chromium, str(server.make_url("/notify/docs"))) as page,
    ):
        for id, text in (("publish", "201 Created"), ("health", "healthy")):
            await unfold(page, id)
            await page.page.click(f"#{id} .try button")
            await wait_for_answer(page, id, text)
        snippet = await page.page.inner_text("#health .sample:visible code")
        assert snippet == f"curl {server.make_url('/notify/health')}"
        assert all("/notify/" in each for each in page.urls if each[:5] != "data:")


async def test_keyboard_reaches_form_and_sends_it(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/docs") as page,
    ):
        await page.page.focus("#publish .copy")
        for key in ("Tab", "Enter", "Tab", "Tab", "Tab", "Tab", "Tab", "Enter"):
            await page.page.keyboard.press(key)
        await wait_for_answer(page, "publish", "201 Created")


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_unfolded_page_is_accessible(
    chromium: Browser, tmp_path: Path, look: dict[str, Any]
) -> None:
    """With everything unfolded and an answer shown; screenshots are in tmp_path."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/docs", bypass_csp=True, **look) as page,
    ):
        await page.page.evaluate(ALL_OPEN)
        for id, text in (("connect", "connected"), ("publish", "201"), ("metrics", "200")):
            await page.page.click(f"#{id} .try button")
            await wait_for_answer(page, id, text)
        await page.page.screenshot(path=tmp_path / "docs.png", full_page=True)
        await page.check_accessibility()
        width = "document.documentElement.scrollWidth <= innerWidth"
        assert await page.page.evaluate(width)
        assert page.errors == []
