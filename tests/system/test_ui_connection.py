"""The page `/ui` in a real browser: it reconnects and resumes."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser

from tests.support import MemcachedProcess, ServerProcess, eventually, running_server
from tests.support.browser import GAP, WITHOUT_MEMCACHED, LivePage, live_page, publish
from tests.support.client import recent_messages
from tests.support.wire import Wire, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECONNECT_TIMEOUT = 15
"""Seconds, because the page waits longer after each attempt that fails."""

HEALTH_INTERVAL = WATCH_INTERVAL = 5_000
"""Milliseconds between the checks of the page: of the server's health, and of the connection."""

MAX_SILENCE = 20_000
"""Milliseconds without traffic after which the page asks for a sign of life."""

TWO_HEARTBEATS = 50_000
"""Milliseconds in which a dead connection must be noticed."""

COUNTING_WEBSOCKET = """
    window.sockets = window.heard = 0;
    window.WebSocket = class extends WebSocket {
        constructor(...parameters) {
            super(...parameters);
            window.sockets += 1;
            this.addEventListener("message", () => { window.heard += 1; });
        }
    };
"""
"""Counts in the page: the browser knows of a frame before the page does."""


@asynccontextmanager
async def restarted(server: ServerProcess, environment: dict[str, str]) -> AsyncIterator[None]:
    """Start another process on the port of one that has ended."""
    async with running_server(environment, "--port", str(server.port)) as again:
        assert again.port == server.port
        yield


async def test_clean_restart_resumes_without_gap(
    chromium: Browser, memcached: MemcachedProcess
) -> None:
    environment = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
    async with (
        running_server(environment) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        await publish(server, "one", "two")
        await page.wait_for_rows(["two", "one"])
        assert await server.stop() == 0
        await page.wait_for_state("waiting")
        async with restarted(server, environment):
            await publish(server, "meanwhile")
            await page.wait_for_state("connected", RECONNECT_TIMEOUT)
            await publish(server, "afterwards")
            await page.wait_for_rows(["afterwards", "meanwhile", "two", "one"])
            assert await page.page.locator("#list .gap").count() == 0
        assert page.unexpected_errors() == []


async def test_killed_server_leaves_gap(chromium: Browser, memcached: MemcachedProcess) -> None:
    """The gap is a row of its own, and is accessible."""
    environment = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
    async with (
        running_server(environment) as server,
        live_page(chromium, f"{server.url}/ui", bypass_csp=True) as page,
    ):
        await page.wait_for_state("connected")
        await publish(server, "one")
        await page.wait_for_rows(["one"])
        await server.stop(signal.SIGKILL)
        await page.wait_for_state("waiting")
        async with restarted(server, environment):
            await page.wait_for_state("connected", RECONNECT_TIMEOUT)
            await publish(server, "afterwards")
            await page.wait_for_rows(["afterwards", GAP, "one"])
            assert await page.page.locator("#list .gap .message").inner_text() == GAP
            assert await page.page.locator("#list .gap time").inner_text() == "just now"
            await page.check_accessibility()
            await page.page.emulate_media(color_scheme="dark")
            await page.check_accessibility()
        assert page.unexpected_errors() == []


async def test_dead_connection_is_replaced(chromium: Browser) -> None:
    """If two health checks fail, a connection that looks open is replaced, and resumes."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.page.clock.install()
        await page.page.reload()
        await page.wait_for_state("connected")
        last = await publish(server, "before", "the last")
        await page.wait_for_rows(["the last", "before"])
        await page.page.route("**/health", lambda route: route.abort())
        for _ in range(2):
            assert not any("since" in each for each in page.urls)
            async with page.page.expect_event("requestfailed"):
                await page.page.clock.fast_forward(HEALTH_INTERVAL)
        await eventually(lambda: any(f"since={last}" in each for each in page.urls))
        await page.wait_for_state("connected")
        assert await page.rows() == ["the last", "before"]
        assert page.unexpected_errors() == []


@asynccontextmanager
async def wired_page(
    chromium: Browser, server: ServerProcess, fragment: str = ""
) -> AsyncIterator[tuple[LivePage, Wire]]:
    """Open the page through a wire that can be cut."""
    async with (
        wire(server.port) as between,
        live_page(chromium, f"http://127.0.0.1:{between.port}/ui{fragment}") as page,
    ):
        await page.wait_for_state("connected")
        yield page, between


@asynccontextmanager
async def interrupted(page: LivePage, between: Wire) -> AsyncIterator[None]:
    """Cut the connection of the page; afterwards, wait until it is connected again."""
    between.cut()
    await page.wait_for_state("waiting")
    yield
    between.mend()
    await page.wait_for_state("connected", RECONNECT_TIMEOUT)


async def test_page_that_saw_nothing_resumes_exactly(chromium: Browser) -> None:
    """It gets all that was published meanwhile, not only the recent ones, and no gap."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        wired_page(chromium, server) as (page, between),
    ):
        async with interrupted(page, between):
            await publish(server, *"abcdefgh")
        await page.wait_for_rows(list("hgfedcba"))
        assert page.unexpected_errors() == []


async def test_quiet_topic_adds_no_gap(chromium: Browser) -> None:
    """Neither if nothing was ever published, nor if the last notification has expired."""
    async with (
        running_server({**WITHOUT_MEMCACHED, "AIONOTIFY_RECENT_TTL": "1"}) as server,
        wired_page(chromium, server) as (page, between),
    ):
        async with interrupted(page, between):
            pass
        await publish(server, "x")
        await page.wait_for_rows(["x"])
        await eventually(lambda: is_empty(server))
        for _ in range(2):
            async with interrupted(page, between):
                pass
        await publish(server, "y")
        await page.wait_for_rows(["y", "x"])
        assert page.unexpected_errors() == []


async def is_empty(server: ServerProcess) -> bool:
    """Return whether all notifications have expired."""
    return await recent_messages(server.url) == []


async def test_gap_is_shown_once(chromium: Browser) -> None:
    """An interruption after a gap adds no other: the gap has the position to resume from."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        wired_page(chromium, server) as (page, between),
    ):
        await publish(server, "one")
        await page.wait_for_rows(["one"])
        await server.stop(signal.SIGKILL)
        await page.wait_for_state("waiting")
        async with restarted(server, WITHOUT_MEMCACHED):
            await page.wait_for_state("connected", RECONNECT_TIMEOUT)
            await page.wait_for_rows([GAP, "one"])
            async with interrupted(page, between):
                pass
            await publish(server, "two")
            await page.wait_for_rows(["two", GAP, "one"])
        assert page.unexpected_errors() == []


async def test_silent_connection_is_replaced(chromium: Browser) -> None:
    """Within two heartbeats, although the server answers other requests."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        wired_page(chromium, server) as (page, between),
    ):
        await page.page.clock.install()
        await page.page.reload()
        await page.wait_for_state("connected")
        between.silence_subscribers()
        await publish(server, "unseen")
        for _ in range(TWO_HEARTBEATS // WATCH_INTERVAL):
            await page.page.clock.fast_forward(WATCH_INTERVAL)
        await page.wait_for_rows(["unseen"])
        await page.wait_for_state("connected")
        assert page.unexpected_errors() == []


async def test_quiet_connection_is_kept(chromium: Browser) -> None:
    """The page asks for a sign of life, and gets one."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.page.clock.install()
        await page.page.add_init_script(COUNTING_WEBSOCKET)
        await page.page.reload()
        await page.wait_for_state("connected")
        for count in (2, 3):  # after that which says that it is subscribed
            for _ in range(MAX_SILENCE // WATCH_INTERVAL + 1):
                await page.page.clock.fast_forward(WATCH_INTERVAL)
                # The clock jumps, the answer to a probe does not: it needs the time of a request.
                await page.page.evaluate("fetch('health').then(() => null)")
            await page.wait_until(f"window.heard >= {count}")
        await page.page.clock.fast_forward(WATCH_INTERVAL)
        assert await page.page.evaluate("window.sockets") == 1
        assert await page.rows() == []
        assert page.errors == []


async def test_retry_counts_down(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.page.clock.install()
        await page.page.add_init_script("Math.random = () => 1")
        await page.page.reload()
        await page.wait_for_state("connected")
        await page.page.clock.pause_at(await page.page.evaluate("Date.now() / 1000 + 1"))
        await server.stop(signal.SIGKILL)
        # The delay doubles from 0.5 s to 8 s.
        while await state_text(page) != "Connection lost: retrying in 8 s":
            await page.page.clock.run_for(500)
        await page.page.clock.run_for(2000)
        seconds = int((await state_text(page)).split()[-2])
        assert 6 <= seconds <= 7
        await page.page.clock.run_for(3000)
        assert await state_text(page) == f"Connection lost: retrying in {seconds - 3} s"
        assert page.unexpected_errors() == []


async def state_text(page: LivePage) -> str:
    return await page.page.inner_text("#state")
