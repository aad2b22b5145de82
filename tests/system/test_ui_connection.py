"""The page `/ui` in a real browser: it reconnects, resumes, and asks for a token if needed."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support import MemcachedProcess, ServerProcess, eventually, running_server
from tests.support.browser import GAP, WITHOUT_MEMCACHED, live_page, publish

pytestmark = pytest.mark.timeout(20)  # starting a browser takes seconds

ADMIN, USER = "admin-0123456789", "user-0123456789a"
RECONNECT_TIMEOUT = 15
"""Seconds, because the page waits longer after each attempt that fails."""

HEALTH_INTERVAL = 5_000
"""Milliseconds between the health checks of the page."""


@asynccontextmanager
async def restarted(server: ServerProcess, environment: dict[str, str]) -> AsyncIterator[None]:
    """Start another process on the port of one that has ended."""
    async with running_server(environment, "--port", str(server.port)) as again:
        assert again.port == server.port
        yield


async def test_clean_restart_resumes_without_gap(memcached: MemcachedProcess) -> None:
    environment = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
    async with running_server(environment) as server, live_page(f"{server.url}/ui") as page:
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


async def test_killed_server_leaves_gap(memcached: MemcachedProcess) -> None:
    """The gap is a row of its own, and is accessible."""
    environment = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
    async with (
        running_server(environment) as server,
        live_page(f"{server.url}/ui", bypass_csp=True) as page,
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
            assert await page.page.locator("#list .gap").inner_text() == GAP
            await page.check_accessibility()
            await page.page.emulate_media(color_scheme="dark")
            await page.check_accessibility()
        assert page.unexpected_errors() == []


async def test_dead_connection_is_replaced() -> None:
    """If two health checks fail, a connection that looks open is replaced, and resumes."""
    async with running_server(WITHOUT_MEMCACHED) as server, live_page(f"{server.url}/ui") as page:
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


async def test_publishing_asks_for_admin_token() -> None:
    """The page keeps the message until it is published, and stores the token nowhere."""
    environment = {**WITHOUT_MEMCACHED, "AIONOTIFY_ADMIN_TOKEN": ADMIN}
    async with running_server(environment) as server, live_page(f"{server.url}/ui") as page:
        await page.wait_for_state("connected")
        await page.publish("rejected")
        await page.page.wait_for_selector("#published.wrong >> text=An admin token is required")
        assert await page.page.input_value("#message") == "rejected"
        await page.page.fill("#token", ADMIN)
        await page.page.click("#publish-form button")
        await page.wait_for_rows(["rejected"])
        assert await page.page.input_value("#message") == ""
        stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        assert await page.page.evaluate(stored) == '[{},{},""]'
        assert not any(ADMIN in each for each in page.urls)
        assert page.unexpected_errors() == []


async def test_subscribing_asks_for_user_token() -> None:
    environment = {
        **WITHOUT_MEMCACHED,
        "AIONOTIFY_ADMIN_TOKEN": ADMIN,
        "AIONOTIFY_USER_TOKEN": USER,
    }
    async with running_server(environment) as server, live_page(f"{server.url}/ui") as page:
        await page.wait_for_state("rejected")
        assert "A token is required" in await page.page.inner_text("#state-text")
        await page.page.fill("#token", USER)
        await page.page.press("#token", "Tab")
        await page.wait_for_state("connected")
        assert not any(USER in each for each in page.urls)
        assert page.unexpected_errors() == []
