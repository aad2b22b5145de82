"""The page `/ui` in a real browser: what is unread, in other topics and in the background."""

import asyncio
from urllib.parse import unquote

import pytest
from playwright.async_api import Browser

from tests.support import running_server
from tests.support.browser import WITHOUT_MEMCACHED, LivePage, live_page, publish

pytestmark = pytest.mark.asyncio(loop_scope="module")

HIDING = """
    let hidden = false;
    Object.defineProperty(document, "hidden", { get: () => hidden });
    window.hide = (value) => {
        hidden = value;
        document.dispatchEvent(new Event("visibilitychange"));
    };
"""
"""A headless browser is never in the background."""


CLIENTS = "fetch('health').then((r) => r.json()).then((h) => h.connected_websockets === {})"


async def unread(page: LivePage) -> dict[str, str]:
    """Return the count of each topic in the list that has one."""
    found: dict[str, str] = await page.page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#topics a:has(.count)')]"
        ".map((each) => [each.dataset.view, parseInt(each.querySelector('.count').textContent)]))"
    )
    return {name: str(count) for name, count in found.items()}


async def test_other_topics_are_counted(chromium: Browser) -> None:
    """Not what was published before the page was opened; and their rows are kept for later."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#a") as page,
    ):
        await page.wait_for_state("connected")
        await publish(server, "before", topic="b")
        await page.page.goto(f"{server.url}/ui#b")
        await page.wait_for_rows(["before"])
        await page.page.goto(f"{server.url}/ui#a")
        await page.wait_for_rows([])
        assert await unread(page) == {}
        await publish(server, *(f"number {n}" for n in range(7)), topic="b")
        await page.page.wait_for_selector('#topics a[data-view="b"] .count >> text=7')
        await page.page.click('#topics a[data-view="b"]')
        # All of them, although a new client gets the newest 5 only.
        await page.wait_for_rows([*(f"number {n}" for n in range(6, -1, -1)), "before"])
        assert await page.page.locator("#list .unread").count() == 7
        await page.page.wait_for_selector("#topics:not(:has(.count))", state="attached")
        await page.page.click('#topics a[data-view="a"]')
        await page.page.click('#topics a[data-view="b"]')
        await page.wait_for_rows([*(f"number {n}" for n in range(6, -1, -1)), "before"])
        assert await page.page.locator("#list .unread").count() == 0
        assert page.errors == []


async def test_recent_ones_of_other_topics_are_not_counted(chromium: Browser) -> None:
    """They may have been read on the last visit: the page stores the names of topics only."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#b") as page,
    ):
        await publish(server, "before", "before", topic="b")
        await page.page.goto(f"{server.url}/ui#a")
        await page.page.reload()
        await page.wait_for_state("connected")
        await page.wait_until(CLIENTS.format(2))
        await publish(server, "live", topic="b")
        await page.page.wait_for_selector('#topics a[data-view="b"] .count')
        assert await unread(page) == {"b": "1"}
        assert page.errors == []


async def test_several_topics_use_one_connection(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#a,b,a") as page,
    ):
        await page.wait_for_state("connected")
        await publish(server, "in a", topic="a")
        await publish(server, "in b", topic="b")
        await page.wait_for_rows(["in b", "in a"])
        sockets = [unquote(each) for each in page.urls if each.startswith("ws")]
        assert len(sockets) == 1
        assert "topic=a,b" in sockets[0]
        assert await page.page.inner_text("#feed-title") == "a, b"
        assert page.errors == []


async def test_forgotten_topic_is_left(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#a") as page,
    ):
        await page.wait_for_state("connected")
        await page.page.goto(f"{server.url}/ui#b")
        await page.wait_for_state("connected")
        await page.wait_until(CLIENTS.format(2))
        await page.page.click('button[title="Forget a"]')
        await page.wait_until(CLIENTS.format(1))
        assert await page.page.locator("#topics li").count() == 1
        assert page.errors == []


async def test_thirteenth_topic_replaces_the_first(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#t0") as page,
    ):
        for number in range(13):
            await page.page.evaluate(f"location.hash = 't{number}'")
            await page.wait_until(
                f"document.getElementById('feed-title').textContent === 't{number}'"
            )
        await page.wait_for_state("connected")
        await page.wait_until("document.querySelectorAll('#topics li').length === 12")
        names = await page.page.locator("#topics .name").all_inner_texts()
        assert names == [f"t{number}" for number in range(1, 13)]
        assert page.errors == []


async def test_title_and_icon_count_in_background(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#a") as page,
    ):
        await page.page.add_init_script(HIDING)
        await page.page.reload()
        await page.wait_for_state("connected")
        assert await page.page.title() == "a · aionotify"
        await publish(server, "seen", topic="a")
        await page.wait_for_rows(["seen"])
        plain = await page.page.get_attribute("#icon", "href")
        await page.page.evaluate("hide(true)")
        await publish(server, "one", "two", topic="a")
        await page.wait_until("document.title === '(2) a · aionotify'")
        icon = await page.page.get_attribute("#icon", "href")
        assert icon != plain
        assert ">2</text>" in unquote(str(icon))
        await publish(server, *map(str, range(100)), topic="a")
        await page.wait_until("document.title === '(99+) a · aionotify'")
        await page.page.evaluate("hide(false)")
        await page.wait_until("document.title === 'a · aionotify'")
        assert await page.page.get_attribute("#icon", "href") == plain
        assert await page.page.locator("#list .unread").count() == 102
        # The marks stay until the page is in the background again.
        await page.page.evaluate("hide(true)")
        assert await page.page.locator("#list .unread").count() == 0
        assert page.errors == []


async def test_keys_move_to_fields(chromium: Browser) -> None:
    """But not while the user types: then they are text."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        focused = "document.activeElement.id"
        await page.page.keyboard.press("/")
        assert await page.page.evaluate(focused) == "filter"
        await page.page.keyboard.type("n/n")
        assert await page.page.input_value("#filter") == "n/n"
        await page.page.keyboard.press("Escape")
        assert await page.page.input_value("#filter") == ""
        await page.page.keyboard.press("Control+n")
        assert await page.page.evaluate(focused) == ""
        await page.page.keyboard.press("n")
        assert await page.page.evaluate(focused) == "message"
        await page.page.keyboard.type("n/")
        await page.page.keyboard.press("Enter")
        await page.wait_for_rows(["n/"])
        assert page.errors == []


async def test_example_command_publishes(chromium: Browser) -> None:
    """The command in an empty list works as it stands, for the topic on display."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#a.b-c") as page,
    ):
        await page.wait_for_state("connected")
        command = await page.page.inner_text("#example")
        assert command == f'curl -d "Hello" "{server.url}/notifications?topic=a.b-c"'
        process = await asyncio.create_subprocess_shell(
            command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == 0
        await page.wait_for_rows(["Hello"])
        assert not await page.page.is_visible("#empty")
        assert page.errors == []
