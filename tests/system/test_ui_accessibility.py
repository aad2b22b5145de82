"""The pages `/ui` and `/docs` in a real browser: usable by keyboard, screen reader and phone."""

from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, ViewportSize

from tests.support import running_server
from tests.support.browser import ROWS, WITHOUT_MEMCACHED, live_page, publish
from tests.support.page_states import STATES, page_in_state

pytestmark = pytest.mark.asyncio(loop_scope="module")

DESKTOP = ViewportSize(width=1280, height=800)
ZOOMED = ViewportSize(width=640, height=400)
PHONE = ViewportSize(width=360, height=740)
NARROW = ViewportSize(width=320, height=640)
FITS = "document.documentElement.scrollWidth <= innerWidth"
FOCUSED = "document.activeElement.id || document.activeElement.textContent"
MOTIONS: dict[Literal["reduce", "no-preference"], str] = {
    "reduce": "none",
    "no-preference": "arrive",
}
TAB_ORDER = [
    *("main", "topic", "Open", "filter", "clear", "Copy", "message", "publish"),
    *("Title, link, tag", "desktop", "API reference"),
]


@pytest.mark.parametrize("state", STATES)
async def test_every_state_is_accessible(chromium: Browser, tmp_path: Path, state: str) -> None:
    """axe-core finds nothing, light and dark; nothing is wider than the screen.

    Screenshots are in tmp_path. At a zoom of 200 %, a screen has half as many CSS pixels.
    """
    async with page_in_state(chromium, state, bypass_csp=True, viewport=DESKTOP) as page:
        for size in (DESKTOP, ZOOMED, PHONE, NARROW):
            await page.page.set_viewport_size(size)
            await page.page.screenshot(path=tmp_path / f"{size['width']}.png")
            assert await page.page.evaluate(FITS), f"wider than {size['width']} pixels"
            if size in (DESKTOP, NARROW):
                for scheme in ("light", "dark"):
                    await page.page.emulate_media(color_scheme=scheme)
                    await page.check_accessibility()
        assert page.unexpected_errors() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_docs_are_accessible(chromium: Browser, scheme: Literal["light", "dark"]) -> None:
    look: dict[str, Any] = {"bypass_csp": True, "color_scheme": scheme}
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/docs", **look) as page,
    ):
        for size in (DESKTOP, PHONE):
            await page.page.set_viewport_size(size)
            await page.check_accessibility()
            assert await page.page.evaluate(FITS), f"wider than {size['width']} pixels"
        assert page.errors == []


@pytest.mark.parametrize(("motion", "animation"), MOTIONS.items())
async def test_new_rows_move_only_if_wanted(
    chromium: Browser, motion: Literal["reduce", "no-preference"], animation: str
) -> None:
    """A new row is highlighted for a moment, unless the user wants less motion."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui", reduced_motion=motion) as page,
    ):
        await page.wait_for_state("connected")
        await publish(server, "first")
        await page.wait_for_rows(["first"])
        await publish(server, "second")
        await page.wait_for_rows(["second", "first"])
        name = "getComputedStyle(document.querySelector('#list .arrived')).animationName"
        assert await page.page.evaluate(name) == animation
        assert page.errors == []


async def test_tab_reaches_all_controls_in_order(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        reached = []
        for _ in TAB_ORDER:
            await page.page.keyboard.press("Tab")
            reached.append(await page.page.evaluate(FOCUSED))
        assert reached == TAB_ORDER


async def test_list_is_first_on_a_phone(chromium: Browser) -> None:
    """The newest notifications are on the first screen, and so is the form, however long it is."""
    async with running_server(WITHOUT_MEMCACHED) as server:
        await publish(server, *(f"number {number}" for number in range(5)))
        url = f"{server.url}/ui"
        async with live_page(chromium, url, viewport={"width": 390, "height": 844}) as page:
            await page.wait_for_state("connected")
            await publish(server, *(f"number {number}" for number in range(30)))
            await page.wait_until(f"{ROWS}.length === 35")
            first = await page.page.locator("#list li").first.bounding_box()
            assert first is not None
            assert first["y"] < 844 / 3
            await page.publish("typed")
            await page.wait_until(f"{ROWS}[0] === 'typed'")
            assert await page.page.evaluate("scrollY") == 0


async def test_everything_works_by_keyboard(chromium: Browser) -> None:
    """Open a topic, publish with a title, look at the details, filter, and forget a topic."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        press = page.page.keyboard.press

        async def tab_to(target: str) -> None:
            for _ in range(20):
                await press("Tab")
                if await page.page.evaluate(FOCUSED) == target:
                    return
            raise AssertionError(f"Tab does not reach {target}")

        await tab_to("topic")
        await page.page.keyboard.type("alerts")
        await press("Enter")
        await page.page.wait_for_selector("#publish >> text=Send to alerts")
        await tab_to("Title, link, tag")
        await press("Enter")
        await tab_to("title")
        await page.page.keyboard.type("Fire")
        await press("Escape")
        await page.page.evaluate("document.activeElement.blur()")
        await press("n")
        await page.page.keyboard.type("in house B")
        await press("Enter")
        await page.wait_for_rows(["in house B"])
        assert await page.page.inner_text("#list .title") == "Fire"
        await page.page.evaluate("document.activeElement.blur()")
        await press("/")
        await page.page.keyboard.type("house")
        await tab_to("⋯")
        await press("Enter")
        assert await page.page.is_visible("#list .details")
        await tab_to("Copy message")
        await page.page.evaluate("document.activeElement.blur()")
        await page.page.focus("#topics a")
        await tab_to("\N{MULTIPLICATION SIGN}")
        await press("Enter")
        await page.wait_until("document.querySelectorAll('#topics li').length === 1")
        assert await page.page.evaluate(FOCUSED) == "topic"
        assert page.errors == []
