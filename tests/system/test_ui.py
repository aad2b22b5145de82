"""The page in a real browser, against the real server."""

import asyncio
import json
import re
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright
from websockets.asyncio.client import connect

from aionotify import create_app
from tests.support import ROOT, MemcachedProcess, ServerProcess, alone, eventually, running_server

pytestmark = pytest.mark.timeout(20)  # a browser's start takes its time

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = ROOT / ".venv" / "node" / "node_modules" / "axe-core" / "axe.min.js"
MISSING = f"is missing: python3 {ROOT / 'tests/run.py'}"
ADMIN, USER = "admin-0123456789", "user-0123456789a"
ALONE = {"MEMCACHED_HOST": "127.0.0.1:1"}
EXPECTED = re.compile(r"WebSocket connection to|Failed to load resource")
"""What a browser says on its console, itself, when a server refuses or is away."""


@asynccontextmanager
async def browser(*more: str) -> AsyncIterator[Browser]:
    """Chromium, with what calls home switched off."""
    program = shutil.which("chromium")
    assert program, f"chromium {MISSING}"
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=program, args=[*ARGUMENTS, *more]
        )
        try:
            yield running
        finally:
            await running.close()


class Opened:
    """The page in a browser, and all that it complained of and asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.addresses: set[str] = set()
        page.on("console", lambda each: self._told(each.type, each.text))
        page.on("pageerror", lambda each: self.complaints.append(str(each)))
        page.on("request", lambda each: self.addresses.add(each.url))
        page.on("websocket", lambda each: self.addresses.add(each.url))

    def _told(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    async def state(self, name: str, seconds: float = 8) -> None:
        """Wait for a state of the connection."""
        await self.page.wait_for_selector(f'#state[data-state="{name}"]', timeout=seconds * 1000)

    async def shows(self, texts: list[str]) -> None:
        """Wait until exactly these are in the list, newest first, gaps included."""
        try:
            await self.holds(f"{ROWS}.length === {len(texts)}")
            await self.holds(f"{ROWS}.join('\\n') === {json.dumps(texts)}.join('\\n')")
        finally:
            assert await self.rows() == texts

    async def holds(self, expression: str, seconds: float = 8) -> None:
        """Wait until it is true in the page, whose policy forbids playwright's own way."""

        async def true() -> bool:
            return bool(await self.page.evaluate(expression))

        await eventually(true, seconds, expression)

    async def rows(self) -> list[str]:
        """The texts of the list, newest first."""
        texts: list[str] = await self.page.evaluate(ROWS)
        return texts

    async def accessible(self) -> None:
        """AssertionError if axe-core finds anything wrong. The page's policy has to be bypassed."""
        assert AXE.is_file(), f"axe-core {MISSING}"
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = await self.page.evaluate(
            "axe.run({ resultTypes: ['violations'] }).then((results) => results.violations)"
        )
        assert [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found] == []

    async def send(self, message: str) -> None:
        """Write a message, and press the key."""
        await self.page.fill("#message", message)
        await self.page.press("#message", "Enter")


ROWS = "[...document.querySelectorAll('#list .message')].map((each) => each.textContent)"
GAP = "Some notifications may have been missed here"


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Opened]:
    """The page at `url`, connected; it may ask for nothing that is not of this server."""
    async with browser() as running:
        page = Opened(await running.new_page(**options))
        await page.page.goto(url)
        yield page
        origin = url.partition("://")[2].partition("/")[0]
        for address in page.addresses:
            assert address.partition("://")[2].startswith(f"{origin}/") or address[:5] == "data:"


async def publish(server: ServerProcess, *messages: str, topic: str = "main") -> str:
    """As another client does; the id of the last one."""
    id = ""
    async with aiohttp.ClientSession() as session:
        for message in messages:
            url = f"{server.url}/notifications?topic={topic}"
            async with session.post(url, data=message.encode()) as response:
                assert response.status == 201
                id = (await response.json())["id"]
    return id


async def test_what_another_client_sends_is_shown(memcached: MemcachedProcess) -> None:
    async with running_server({"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}) as server:
        await publish(server, "<b>before</b>")
        async with opened(f"{server.url}/ui") as page:
            await page.state("connected")
            await page.shows(["<b>before</b>"])
            assert await page.page.locator("#list li.recent .badge").all_inner_texts() == ["recent"]
            await publish(server, "Hello é 😀\nin two lines")
            await page.shows(["Hello é 😀\nin two lines", "<b>before</b>"])
            assert await page.page.locator("#list li.recent").count() == 1
            await page.holds(
                "document.getElementById('cache').textContent === 'memcached'"
                " && document.getElementById('clients').textContent === '1'"
                " && document.getElementById('news').textContent.startsWith('2 new. Newest: Hello')"
            )
            assert page.complaints == []


async def test_a_topic_is_chosen_and_remembered_in_the_address() -> None:
    async with running_server(ALONE) as server:
        await publish(server, "in main")
        await publish(server, "in another", topic="a.b-c_1")
        async with opened(f"{server.url}/ui") as page:
            await page.shows(["in main"])
            await page.page.fill("#topic", "a.b-c_1")
            await page.page.press("#topic", "Enter")
            await page.shows(["in another"])
            assert page.page.url == f"{server.url}/ui#a.b-c_1"
            await page.send("sent there")
            await page.shows(["sent there", "in another"])
            await page.page.fill("#topic", "not a topic")
            await page.page.press("#topic", "Enter")
            assert page.page.url == f"{server.url}/ui#a.b-c_1"
            await page.page.go_back()
            await page.shows(["in main"])
            assert page.complaints == []


@asynccontextmanager
async def restarted(server: ServerProcess, environment: dict[str, str]) -> AsyncIterator[None]:
    """Another process on the port of one that has ended."""
    async with running_server(environment, "--port", str(server.port)) as again:
        assert again.port == server.port
        yield


async def test_after_a_clean_restart_it_resumes_and_nothing_is_missed(
    memcached: MemcachedProcess,
) -> None:
    environment = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
    async with running_server(environment) as server, opened(f"{server.url}/ui") as page:
        await page.state("connected")
        await publish(server, "one", "two")
        await page.shows(["two", "one"])
        assert await server.stop() == 0
        await page.state("waiting")
        async with restarted(server, environment):
            await publish(server, "meanwhile")
            await page.state("connected", 15)
            await publish(server, "afterwards")
            await page.shows(["afterwards", "meanwhile", "two", "one"])
            assert await page.page.locator("#list .gap").count() == 0
        assert [each for each in page.complaints if not EXPECTED.search(each)] == []


async def test_after_a_kill_it_marks_what_may_be_missing(memcached: MemcachedProcess) -> None:
    environment = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
    async with (
        running_server(environment) as server,
        opened(f"{server.url}/ui", bypass_csp=True) as page,
    ):
        await page.state("connected")
        await publish(server, "one")
        await page.shows(["one"])
        await server.stop(signal.SIGKILL)
        await page.state("waiting")
        async with restarted(server, environment):
            await page.state("connected", 15)
            await publish(server, "afterwards")
            await page.shows(["afterwards", GAP, "one"])
            assert await page.page.locator("#list .gap").inner_text() == GAP
            await page.accessible()
            await page.page.emulate_media(color_scheme="dark")
            await page.accessible()
        assert [each for each in page.complaints if not EXPECTED.search(each)] == []


async def test_where_a_token_is_needed_to_send_it_says_so_and_takes_it() -> None:
    environment = {**ALONE, "AIONOTIFY_ADMIN_TOKEN": ADMIN}
    async with running_server(environment) as server, opened(f"{server.url}/ui") as page:
        await page.state("connected")
        await page.send("refused")
        await page.page.wait_for_selector("#sent.wrong >> text=Sending needs another token")
        assert await page.page.input_value("#message") == "refused"
        await page.page.fill("#token", ADMIN)
        await page.page.click("#send-form button")
        await page.shows(["refused"])
        assert await page.page.input_value("#message") == ""
        stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        assert await page.page.evaluate(stored) == '[{},{},""]'
        assert not any(ADMIN in address for address in page.addresses)
        assert [each for each in page.complaints if not EXPECTED.search(each)] == []


async def test_where_a_token_is_needed_to_listen_it_says_so_and_takes_it() -> None:
    environment = {**ALONE, "AIONOTIFY_ADMIN_TOKEN": ADMIN, "AIONOTIFY_USER_TOKEN": USER}
    async with running_server(environment) as server, opened(f"{server.url}/ui") as page:
        await page.state("refused")
        assert "A token is needed" in await page.page.inner_text("#state-text")
        await page.page.fill("#token", USER)
        await page.page.press("#token", "Tab")
        await page.state("connected")
        assert not any(USER in address for address in page.addresses)
        assert [each for each in page.complaints if not EXPECTED.search(each)] == []


async def flood(server: ServerProcess, count: int, seconds: float) -> None:
    """So many notifications, evenly over that time."""
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
    await reading  # until the end: the closing frame stands behind all that is still to be read


async def test_ten_thousand_in_ten_seconds_do_not_freeze_it() -> None:
    """It goes on drawing frames, keeps 500 rows, and loses none on the way."""
    async with running_server(ALONE) as server, opened(f"{server.url}/ui#flood") as page:
        await page.state("connected")
        await page.page.evaluate(
            """() => {
                window.longest = 0;
                let last = performance.now();
                const frame = (now) => {
                    window.longest = Math.max(window.longest, now - last);
                    last = now;
                    requestAnimationFrame(frame);
                };
                requestAnimationFrame(frame);
            }"""
        )
        await flood(server, 10_000, 10)
        await page.holds(f"{ROWS}[0] === 'number 9999'")
        assert await page.rows() == [f"number {number}" for number in range(9999, 9499, -1)]
        assert await page.page.inner_text("#shown") == "the newest 500 rows of 10,000"
        assert await page.page.locator("#list .gap").count() == 0
        assert await page.page.evaluate("window.longest") < 1000
        assert page.complaints == []


LOOKS: list[dict[str, Any]] = [
    {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
    {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}},
]


@pytest.mark.parametrize("look", LOOKS, ids=["light", "dark", "phone", "dark-phone"])
async def test_nobody_is_kept_from_using_it(tmp_path: Path, look: dict[str, Any]) -> None:
    """axe-core finds nothing, nothing is wider than the screen; how it looks is in tmp_path."""
    environment = {**ALONE, "AIONOTIFY_HISTORY_LIMIT": "100"}
    async with running_server(environment) as server:
        await publish(server, "The first of the day", "The lift in house B is out of order")
        async with opened(f"{server.url}/ui", bypass_csp=True, **look) as page:
            await page.state("connected")
            await publish(server, "It is back", "long " * 300, "a" * 200, "Lunch\nis ready")
            await page.holds(f"{ROWS}.length === 6")
            await page.send(" ")
            for path in ("ui", "docs"):
                if path == "docs":
                    await page.page.goto(f"{server.url}/docs")
                await page.page.screenshot(path=tmp_path / f"{path}.png", full_page=True)
                await page.accessible()
                width = "document.documentElement.scrollWidth <= innerWidth"
                assert await page.page.evaluate(width), f"{path} is wider than the screen"
            assert page.complaints == []


async def test_a_link_that_looks_open_and_is_dead_is_given_up() -> None:
    """Where the server answers nothing twice, five seconds apart, it connects anew, and resumes."""
    async with running_server(ALONE) as server, opened(f"{server.url}/ui") as page:
        await page.page.clock.install()
        await page.page.reload()
        await page.state("connected")
        last = await publish(server, "before", "the last")
        await page.shows(["the last", "before"])
        await page.page.route("**/health", lambda route: route.abort())
        for _ in range(2):
            assert not any("since" in address for address in page.addresses)
            async with page.page.expect_event("requestfailed"):
                await page.page.clock.fast_forward(5_000)
        await eventually(lambda: any(f"since={last}" in each for each in page.addresses))
        await page.state("connected")
        assert await page.rows() == ["the last", "before"]
        assert [each for each in page.complaints if not EXPECTED.search(each)] == []


async def test_it_works_without_a_mouse() -> None:
    """Everything is reached with Tab, in the order in which it is read."""
    async with running_server(ALONE) as server, opened(f"{server.url}/ui") as page:
        await page.state("connected")
        reached = []
        for _ in range(8):
            await page.page.keyboard.press("Tab")
            reached.append(
                await page.page.evaluate(
                    "document.activeElement.id || document.activeElement.textContent"
                )
            )
        assert reached == [
            *("topic", "Listen", "clear", "message", "token", "Send", "desktop"),
            "The interface, described",
        ]


async def test_desktop_notifications_are_shown_on_request() -> None:
    """Only once they are asked for, and only while nobody looks."""
    fake = """
        window.shown = [];
        window.Notification = class {
            static requestPermission = async () => "granted";
            constructor(title, options) { window.shown.push([title, options.body]); }
        };
        let hidden = false;
        Object.defineProperty(document, "hidden", { get: () => hidden });
        window.hide = (value) => { hidden = value; };
    """
    async with running_server(ALONE) as server, opened(f"{server.url}/ui") as page:
        await page.page.add_init_script(fake)
        await page.page.reload()
        await page.state("connected")
        await page.page.evaluate("hide(true)")
        await publish(server, "not asked for")
        await page.shows(["not asked for"])
        await page.page.evaluate("hide(false)")
        await page.page.click("#desktop")
        await page.page.wait_for_selector('#desktop[aria-pressed="true"]')
        await publish(server, "somebody looks")
        await page.shows(["somebody looks", "not asked for"])
        await page.page.evaluate("hide(true)")
        await publish(server, "nobody looks")
        await page.holds("window.shown.length > 0")
        assert await page.page.evaluate("window.shown") == [["aionotify: main", "nobody looks"]]
        assert page.complaints == []


async def test_it_works_behind_the_path_prefix_of_a_proxy(
    aiohttp_server: Callable[..., Any],
) -> None:
    outer = web.Application()
    outer.add_subapp("/notify/", create_app(alone()))
    served = await aiohttp_server(outer)
    url = f"http://127.0.0.1:{served.port}/notify"
    async with opened(f"{url}/ui") as page:
        await page.state("connected")
        await page.send("through the prefix")
        await page.shows(["through the prefix"])
        await page.page.click("text=The interface, described")
        await page.page.wait_for_url(f"{url}/docs")
        assert page.complaints == []
        assert all("/notify/" in each for each in page.addresses if each[:5] != "data:")
        # Shown bare, it has no icon, and the browser asks for one where it likes.
        await page.page.click("text=For programs")
        await page.page.wait_for_url(f"{url}/openapi.json")
