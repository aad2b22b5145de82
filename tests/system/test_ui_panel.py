"""The panel about the server on the page `/ui`: where notifications are kept."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route

from tests.support import MemcachedProcess, running_server
from tests.support.browser import WITHOUT_MEMCACHED, LivePage, live_page
from tests.support.nats import running_nats

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHECK = "document.dispatchEvent(new Event('visibilitychange'))"
"""JavaScript that makes the page ask `/health` now, and not within its 5 s."""


async def wait_for_storage(page: LivePage, name: str) -> None:
    """Wait until the panel names the storage."""
    await page.wait_until(f"({CHECK}, document.getElementById('cache').textContent === '{name}')")


async def test_panel_names_memcached(chromium: Browser, memcached: MemcachedProcess) -> None:
    """Also with tokens, without which `/metrics` would be an error in the console."""
    tokens = {"AIONOTIFY_ADMIN_TOKEN": "admin-0123456789"}
    hosts = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
    async with (
        running_server({**hosts, **tokens}) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await wait_for_storage(page, "memcached")
        memcached.kill()
        await wait_for_storage(page, "memory only")
        assert await page.page.is_hidden("#lag-row")
        assert page.errors == []


async def test_panel_says_that_nothing_is_stored(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await wait_for_storage(page, "memory only")
        assert page.errors == []


async def test_panel_names_nats(chromium: Browser, tmp_path: Path) -> None:
    with running_nats(tmp_path) as nats:
        environment = {"AIONOTIFY_NATS_URL": nats.url, "AIONOTIFY_NATS_REPLICAS": "1"}
        async with (
            running_server(environment) as server,
            live_page(chromium, f"{server.url}/ui") as page,
        ):
            await wait_for_storage(page, "NATS")
            assert await page.page.inner_text("#lag") == "0"
            nats.kill()
            await wait_for_storage(page, "NATS, unavailable")
            assert page.errors == []


async def test_panel_shows_lag_of_nats(chromium: Browser) -> None:
    """As the header says it: no real node can be kept behind."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):

        async def lag(route: Route) -> None:
            response = await route.fetch()
            headers = {**response.headers, "aionotify-backend": "nats;lag=1234"}
            await route.fulfill(response=response, headers=headers)

        await page.page.route("**/health", lag)
        await wait_for_storage(page, "NATS, unavailable")
        assert await page.page.inner_text("#lag") == "1,234"
        assert page.errors == []


async def test_clients_are_counted_when_they_change(chromium: Browser) -> None:
    """The page itself is a client, which its first question to `/health` comes too soon for."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/docs") as page,  # which is no client
    ):
        await page.page.clock.install()
        await page.page.clock.pause_at(datetime.now() + timedelta(hours=1))
        await page.page.goto(f"{server.url}/ui")
        await page.wait_for_state("connected")
        await page.page.clock.run_for(1_000)  # and not the 5 s until it asks anyway
        await page.wait_until("document.getElementById('clients').textContent === '1'")
        assert page.errors == []
