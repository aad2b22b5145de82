"""The page `/ui` in a real browser, against the real server: its list, topics and panels."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from playwright.async_api import Browser
from websockets.asyncio.client import connect

from aionotify import create_app
from tests.support import MemcachedProcess, ServerProcess, alone, running_server
from tests.support.browser import ROWS, WITHOUT_MEMCACHED, LivePage, live_page, publish

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_FRAME = 1000
"""Milliseconds between two frames, at most, for a page that does not freeze."""

MAX_BYTES = 40 * 1024
"""Bytes transferred for the page with everything that it loads, with headers."""

TRANSFERRED = (
    "performance.getEntries().reduce((sum, { transferSize = 0 }) => sum + transferSize, 0)"
)

MAX_PAINT = 300
"""Milliseconds until the page shows something."""

MEASURE_FRAMES = """() => {
    window.longest = 0;
    let last = performance.now();
    const frame = (now) => {
        window.longest = Math.max(window.longest, now - last);
        last = now;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    window.tasks = [];
    new PerformanceObserver((found) => {
        tasks.push(...found.getEntries().map(({ duration }) => duration));
    }).observe({ type: "longtask" });
}"""

FAKE_NOTIFICATION = """
    window.shown = [];
    window.Notification = class {
        static requestPermission = async () => "granted";
        constructor(title, options) { window.shown.push([title, options.body]); }
    };
    let hidden = false;
    Object.defineProperty(document, "hidden", { get: () => hidden });
    window.hide = (value) => { hidden = value; };
"""
"""In place of the API of the browser: a headless one shows none, and is never in the background."""


async def test_page_shows_recent_and_live(chromium: Browser, memcached: MemcachedProcess) -> None:
    """Notifications of other clients, those from before included, with markup as text."""
    async with running_server({"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}) as server:
        await publish(server, "<b>before</b>")
        async with live_page(chromium, f"{server.url}/ui") as page:
            await page.wait_for_state("connected")
            await page.wait_for_rows(["<b>before</b>"])
            assert await page.page.locator("#list li.recent").count() == 1
            await publish(server, "Hello é 😀\nin two lines")
            await page.wait_for_rows(["Hello é 😀\nin two lines", "<b>before</b>"])
            assert await page.page.locator("#list li.recent").count() == 1
            await page.wait_until(
                "document.getElementById('cache').textContent === 'memcached'"
                " && document.getElementById('clients').textContent === '1'"
                " && document.getElementById('news').textContent.startsWith('2 new. Newest: Hello')"
            )
            assert page.errors == []


async def test_topic_is_kept_in_url(chromium: Browser) -> None:
    async with running_server(WITHOUT_MEMCACHED) as server:
        await publish(server, "in main")
        await publish(server, "in another", topic="a.b-c_1")
        async with live_page(chromium, f"{server.url}/ui") as page:
            await page.wait_for_rows(["in main"])
            await page.page.fill("#topic", "a.b-c_1")
            await page.page.press("#topic", "Enter")
            await page.wait_for_rows(["in another"])
            assert page.page.url == f"{server.url}/ui#a.b-c_1"
            await page.publish("published there")
            await page.wait_for_rows(["published there", "in another"])
            await page.page.fill("#topic", "not a topic")
            await page.page.press("#topic", "Enter")
            assert page.page.url == f"{server.url}/ui#a.b-c_1"
            await page.page.go_back()
            await page.wait_for_rows(["in main"])
            assert page.errors == []


async def test_links_are_followed_safely(chromium: Browser) -> None:
    """Only http and https; whole addresses only, without the end of the sentence."""
    long = "x" * 490 + " https://example.com/cut/off/here"
    messages = {
        "See https://example.com/a?b=c&d#e, or (http://x.example).": [
            "https://example.com/a?b=c&d#e",
            "http://x.example",
        ],
        "https://en.example/Hash_(x) HTTPS://EXAMPLE.COM/é😀": [
            "https://en.example/Hash_(x)",
            "HTTPS://EXAMPLE.COM/é😀",
        ],
        "javascript:alert(1) data:text/html,x ftp://x.example file:///etc http://[ https://": [],
        "<a href='https://x.example'>": ["https://x.example"],
        "https://x.example/\u202egnp.exe": ["https://x.example/"],
    }
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        await publish(server, *messages, long)
        await page.wait_for_rows([f"{long[:500]}…", *reversed(messages)])
        links = page.page.locator("#list a")
        expected = [link for links in reversed(messages.values()) for link in links]
        assert await links.all_inner_texts() == expected
        attributes = "(all) => all.map((each) => [each.target, each.rel, each.protocol])"
        for target, rel, protocol in await links.evaluate_all(attributes):
            assert (target, rel) == ("_blank", "noopener noreferrer")
            assert protocol in ("http:", "https:")
        await page.page.click("text=Show all")
        assert await links.first.inner_text() == "https://example.com/cut/off/here"
        assert page.errors == []


async def test_messages_have_their_own_direction(chromium: Browser) -> None:
    """Arabic and Hebrew run from right to left, each line of a message for itself."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        await publish(server, "مرحبا Hello", "Hello مرحبا")
        await page.wait_for_rows(["Hello مرحبا", "مرحبا Hello"])
        direction = "(all) => all.map((each) => getComputedStyle(each).direction)"
        rows = page.page.locator("#list .message")
        assert await rows.evaluate_all(direction) == ["ltr", "rtl"]
        assert page.errors == []


async def publish_evenly(server: ServerProcess, count: int, seconds: float) -> None:
    """Publish `count` numbered notifications to the topic `flood`, evenly over `seconds`."""
    async with connect(f"{server.ws_url}?client=admin&topic=flood") as admin:

        async def read() -> None:
            async for _ in admin:
                pass

        reading = asyncio.create_task(read())
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(count):
            await admin.send(f"number {number}")
            if number % 20 == 0:
                due = start + seconds * number / count
                await asyncio.sleep(max(0, due - loop.time()))
        await admin.ping()
    await reading  # to the end: the close frame comes after all that is still to be read


async def test_flood_does_not_freeze_page(
    chromium: Browser, record_property: Callable[[str, object], None]
) -> None:
    """With 10,000 in 10 s, it keeps drawing frames, keeps 500 rows, and misses none."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#flood") as page,
    ):
        await page.wait_for_state("connected")
        await page.page.evaluate(MEASURE_FRAMES)
        await publish_evenly(server, 10_000, 10)
        await page.wait_until(f"{ROWS}[0] === 'number 9999'")
        assert await page.rows() == [f"number {number}" for number in range(9999, 9499, -1)]
        assert await page.page.inner_text("#shown") == "newest 500 of 10,000 rows"
        assert await page.page.locator("#list .gap").count() == 0
        assert await page.page.evaluate("window.longest") < MAX_FRAME
        tasks = await page.page.evaluate("window.tasks")
        record_property("long tasks, in ms", tasks)
        print(f"long tasks: {len(tasks)}, the longest {max(tasks, default=0):.0f} ms")
        assert page.errors == []


async def test_long_messages_are_bounded_by_size(chromium: Browser) -> None:
    """A million characters in each view, and always the newest message."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        for number in range(25):
            await publish(server, f"{number} {'x' * 50_000}")
        await page.wait_until("document.getElementById('shown').textContent.includes('of 25')")
        assert await page.page.inner_text("#shown") == "newest 19 of 25 rows"
        assert (await page.rows())[-1].startswith("6 xxx")
        assert page.errors == []


async def test_page_is_light_and_paints_soon(chromium: Browser) -> None:
    """With everything that it loads, and the fastest of three visits."""
    async with running_server(WITHOUT_MEMCACHED) as server:
        paints = []
        for _ in range(3):
            async with live_page(chromium, f"{server.url}/ui") as page:
                await page.wait_for_state("connected")
                transferred = await page.page.evaluate(TRANSFERRED)
                assert 20 * 1024 < transferred < MAX_BYTES
                paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
                await page.wait_until(f"{paint} !== undefined")
                paints.append(await page.page.evaluate(paint))
        print(f"{transferred} bytes; first contentful paint, in ms:", paints)
        assert min(paints) < MAX_PAINT


async def test_desktop_notifications_are_opt_in(chromium: Browser) -> None:
    """They are shown only after the user turns them on, and only in the background."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.page.add_init_script(FAKE_NOTIFICATION)
        await page.page.reload()
        await page.wait_for_state("connected")
        await page.page.evaluate("hide(true)")
        await publish(server, "turned off")
        await page.wait_for_rows(["turned off"])
        await page.page.evaluate("hide(false)")
        await page.page.click("#desktop")
        await page.page.wait_for_selector('#desktop[aria-pressed="true"]')
        await publish(server, "in the foreground")
        await page.wait_for_rows(["in the foreground", "turned off"])
        await page.page.evaluate("hide(true)")
        await publish(server, "in the background")
        await page.wait_until("window.shown.length > 0")
        shown = await page.page.evaluate("window.shown")
        assert shown == [["aionotify: main", "in the background"]]
        assert page.errors == []


@asynccontextmanager
async def page_below(
    chromium: Browser, served: BaseTestServer
) -> AsyncIterator[tuple[str, LivePage]]:
    """Open the page below the path prefix `/notify` of a server."""
    url = f"http://127.0.0.1:{served.port}/notify"
    async with live_page(chromium, f"{url}/ui") as page:
        yield url, page


async def test_page_works_below_path_prefix(chromium: Browser) -> None:
    outer = web.Application()
    outer.add_subapp("/notify/", create_app(alone()))
    async with TestServer(outer) as served, page_below(chromium, served) as (url, page):
        await page.wait_for_state("connected")
        await page.publish("through the prefix")
        await page.wait_for_rows(["through the prefix"])
        await page.page.click("text=API reference")
        await page.page.wait_for_url(f"{url}/docs")
        assert page.errors == []
        assert all("/notify/" in each for each in page.urls if each[:5] != "data:")
        # Last, because a document that is not HTML has no icon of its own, and the browser then
        # requests /favicon.ico, outside of the prefix.
        await page.page.click("text=OpenAPI document")
        await page.page.wait_for_url(f"{url}/openapi.json")
