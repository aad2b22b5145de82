"""The pages `/ui` and `/docs` in a real browser: usable by keyboard, screen reader and phone."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.support import running_server
from tests.support.browser import ROWS, WITHOUT_MEMCACHED, live_page, publish

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(20),  # starting a browser takes seconds
]

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": DESKTOP},
    "dark": {"color_scheme": "dark", "viewport": DESKTOP},
    "phone": {"color_scheme": "light", "viewport": PHONE},
    "dark-phone": {"color_scheme": "dark", "viewport": PHONE},
}
TAB_ORDER = [
    *("main", "topic", "Open", "filter", "clear", "Copy", "message", "publish"),
    *("Title, link, tag", "desktop", "API reference"),
]


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_pages_are_accessible(
    chromium: Browser, tmp_path: Path, look: dict[str, Any]
) -> None:
    """axe-core finds nothing, and nothing is wider than the screen; screenshots are in tmp_path."""
    environment = {**WITHOUT_MEMCACHED, "AIONOTIFY_HISTORY_LIMIT": "100"}
    async with running_server(environment) as server:
        await publish(server, "The first of the day", "The lift in house B is out of order")
        async with live_page(chromium, f"{server.url}/ui", bypass_csp=True, **look) as page:
            await page.wait_for_state("connected")
            await publish(server, "It is back", "long " * 300, "a" * 200, "Lunch\nis ready")
            await page.wait_until(f"{ROWS}.length === 6")
            await page.publish(" ")
            for path in ("ui", "docs"):
                if path == "docs":
                    await page.page.goto(f"{server.url}/docs")
                await page.page.screenshot(path=tmp_path / f"{path}.png", full_page=True)
                await page.check_accessibility()
                width = "document.documentElement.scrollWidth <= innerWidth"
                assert await page.page.evaluate(width), f"{path} is wider than the screen"
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
            reached.append(
                await page.page.evaluate(
                    "document.activeElement.id || document.activeElement.textContent"
                )
            )
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
