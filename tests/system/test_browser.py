"""A browser's own EventSource and WebSocket, and pages of another origin."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Page

from tests.support import MemcachedProcess, ServerProcess, eventually, free_port, running_server
from tests.support.documents import blocks
from tests.system.test_ui import browser, publish

pytestmark = pytest.mark.timeout(30)  # a browser's start takes its time

ELSEWHERE = "elsewhere.test"
"""A name of another site, though its pages come from this machine: a browser lets no page that
does not reach for an address of the machine itself."""

ASK = """async ([url, ws]) => {
  const listen = (source) => new Promise((resolve) => {
    source.onopen = () => resolve("open");
    source.onerror = () => resolve("refused");
  });
  const send = await fetch(`${url}/notifications`, { method: "POST", body: "from the page" })
    .then((answer) => answer.status, () => "refused");
  return [await listen(new EventSource(`${url}/events`)), await listen(new WebSocket(ws)), send];
}"""


def environment(memcached: MemcachedProcess) -> dict[str, str]:
    """With that memcached."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}


@asynccontextmanager
async def page_with(html: str, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Page]:
    """A page with `html` at an origin of its own."""

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    runner = web.AppRunner(app)
    await runner.setup()
    port = port or free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with browser(f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1") as running:
            page = await running.new_page()
            await page.goto(f"http://{host}:{port}/")
            yield page
    finally:
        await runner.cleanup()


async def shown(page: Page) -> list[str]:
    """The texts of the recipe's list, oldest first."""
    texts: list[str] = await page.evaluate(
        "[...document.querySelectorAll('#list li')].map((each) => each.textContent).reverse()"
    )
    return texts


async def shows(page: Page, texts: list[str]) -> None:
    """Wait until exactly these are there."""

    async def there() -> bool:
        return await shown(page) == texts

    try:
        await eventually(there, 8)
    finally:
        assert await shown(page) == texts


async def test_the_live_page_of_the_readme_resumes(memcached: MemcachedProcess) -> None:
    port = free_port()
    (recipe,) = blocks("html")
    assert recipe.count("\n") <= 10
    html = recipe.replace("localhost:8000", f"127.0.0.1:{port}")
    settings = environment(memcached)
    gap = "Something may have been missed."
    async with running_server(settings, "--port", str(port)) as server:
        await publish(server, "a", "<b>b</b>")
        async with page_with(html) as page:
            await shows(page, ["a", "<b>b</b>"])
            await publish(server, "c")
            await shows(page, ["a", "<b>b</b>", "c"])
            assert await server.stop() == 0
            async with running_server(settings, "--port", str(port)) as second:
                await publish(second, "d")
                await shows(page, ["a", "<b>b</b>", "c", "d"])
                await second.stop(9)
            async with running_server(settings, "--port", str(port)) as third:
                await shows(page, ["a", "<b>b</b>", "c", "d", gap])
                await publish(third, "e")
                await shows(page, ["a", "<b>b</b>", "c", "d", gap, "e"])


async def test_a_websocket_of_a_browser_gets_recents_and_live_ones(
    memcached: MemcachedProcess,
) -> None:
    async with running_server(environment(memcached)) as server:
        await publish(server, "a")
        html = f"""<ul id="list"></ul><script>
          new WebSocket("{server.ws_url}").onmessage = ({{ data }}) => list.prepend(
            Object.assign(document.createElement("li"), {{ textContent: data }}));
        </script>"""
        async with page_with(html) as page:
            await shows(page, ["[Recent] a"])
            await publish(server, "é")
            await shows(page, ["[Recent] a", "[Notification] é"])


async def ask(server: ServerProcess, port: int) -> list[Any]:
    """What a page of another site, on `port`, can do: listen twice, and send."""
    async with page_with("<p>elsewhere</p>", ELSEWHERE, port) as page:
        answer: list[Any] = await page.evaluate(ASK, [server.url, server.ws_url])
        return answer


async def test_a_page_of_another_origin_can_neither_listen_nor_send(
    memcached: MemcachedProcess,
) -> None:
    async with running_server(environment(memcached)) as server:
        assert await ask(server, free_port()) == ["refused", "refused", "refused"]
        assert memcached.messages() == []


async def test_the_same_page_can_when_it_is_allowed(memcached: MemcachedProcess) -> None:
    port = free_port()
    origin = f"http://{ELSEWHERE}:{port}"
    allowed = {**environment(memcached), "AIONOTIFY_ALLOWED_ORIGINS": origin}
    async with running_server(allowed) as server:
        assert await ask(server, port) == ["open", "open", 201]
        assert memcached.messages() == ["from the page"]
