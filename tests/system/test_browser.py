"""EventSource and WebSocket of a real browser, and pages of another origin."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from playwright.async_api import Page

from tests.support import MemcachedProcess, ServerProcess, eventually, free_port, running_server
from tests.support.browser import browser, publish
from tests.support.client_page import OTHER_SITE
from tests.support.documents import blocks

TRY_ALL = """async ([url, ws]) => {
  const subscribe = (source) => new Promise((resolve) => {
    source.onopen = () => resolve("open");
    source.onerror = () => resolve("rejected");
  });
  const published = await fetch(`${url}/notifications`, { method: "POST", body: "from the page" })
    .then((answer) => answer.status, () => "rejected");
  return [
    await subscribe(new EventSource(`${url}/events`)),
    await subscribe(new WebSocket(ws)),
    published,
  ];
}"""


def environment(memcached: MemcachedProcess) -> dict[str, str]:
    """Return the settings of a server that uses `memcached`."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}


@asynccontextmanager
async def page_with(html: str, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Page]:
    """Open a page with `html`, served from an origin of its own."""

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    runner = web.AppRunner(app)
    await runner.setup()
    port = port or free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with browser(f"--host-resolver-rules=MAP {OTHER_SITE} 127.0.0.1") as running:
            page = await running.new_page()
            await page.goto(f"http://{host}:{port}/")
            yield page
    finally:
        await runner.cleanup()


async def items(page: Page) -> list[str]:
    """Return the items of the list, oldest first."""
    texts: list[str] = await page.evaluate(
        "[...document.querySelectorAll('#list li')].map((each) => each.textContent).reverse()"
    )
    return texts


async def wait_for_items(page: Page, texts: list[str]) -> None:
    """Wait until the list has exactly these texts, oldest first."""

    async def are_shown() -> bool:
        return await items(page) == texts

    try:
        await eventually(are_shown)
    finally:
        # Also on a timeout: pytest then shows how the lists differ.
        assert await items(page) == texts


async def test_readme_page_resumes(memcached: MemcachedProcess) -> None:
    port = free_port()
    (recipe,) = blocks("html")
    assert recipe.count("\n") <= 10
    html = recipe.replace("localhost:8000", f"127.0.0.1:{port}")
    settings = environment(memcached)
    (gap,) = re.findall(r'onGap = \(\) => show\("([^"]+)"\)', recipe)
    async with running_server(settings, "--port", str(port)) as server:
        await publish(server, "a", "<b>b</b>")
        async with page_with(html) as page:
            await wait_for_items(page, ["a", "<b>b</b>"])
            await publish(server, "c")
            await wait_for_items(page, ["a", "<b>b</b>", "c"])
            assert await server.stop() == 0
            async with running_server(settings, "--port", str(port)) as second:
                await publish(second, "d")
                await wait_for_items(page, ["a", "<b>b</b>", "c", "d"])
                await second.stop(9)
            async with running_server(settings, "--port", str(port)) as third:
                await wait_for_items(page, ["a", "<b>b</b>", "c", "d", gap])
                await publish(third, "e")
                await wait_for_items(page, ["a", "<b>b</b>", "c", "d", gap, "e"])


async def test_browser_websocket_gets_recent_then_live(memcached: MemcachedProcess) -> None:
    async with running_server(environment(memcached)) as server:
        await publish(server, "a")
        html = f"""<ul id="list"></ul><script>
          new WebSocket("{server.ws_url}").onmessage = ({{ data }}) => list.prepend(
            Object.assign(document.createElement("li"), {{ textContent: data }}));
        </script>"""
        async with page_with(html) as page:
            await wait_for_items(page, ["[Recent] a"])
            await publish(server, "é")
            await wait_for_items(page, ["[Recent] a", "[Notification] é"])


async def try_all(server: ServerProcess, port: int) -> list[Any]:
    """Subscribe twice and publish, from a page of another site. Return the three results."""
    async with page_with("<p>elsewhere</p>", OTHER_SITE, port) as page:
        results: list[Any] = await page.evaluate(TRY_ALL, [server.url, server.ws_url])
        return results


async def test_other_origin_is_rejected(memcached: MemcachedProcess) -> None:
    """It can neither subscribe nor publish."""
    async with running_server(environment(memcached)) as server:
        assert await try_all(server, free_port()) == ["rejected", "rejected", "rejected"]
        assert memcached.messages() == []


async def test_allowed_origin_can_subscribe_and_publish(memcached: MemcachedProcess) -> None:
    port = free_port()
    origin = f"http://{OTHER_SITE}:{port}"
    allowed = {**environment(memcached), "AIONOTIFY_ALLOWED_ORIGINS": origin}
    async with running_server(allowed) as server:
        assert await try_all(server, port) == ["open", "open", 201]
        assert memcached.messages() == ["from the page"]
