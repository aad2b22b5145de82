"""A page of another site that uses `/client.js`, in Chromium."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page

from tests.support.browser import TIMEOUT, browser
from tests.support.waiting import eventually

OTHER_SITE = "elsewhere.test"
"""The host name of another site; the browser resolves it to 127.0.0.1.

A page from a public address would not do: Chromium keeps it from connecting to local ones, and the
tests would pass whatever the server does.
"""

HTML = """<!doctype html><title>elsewhere</title><link rel="icon" href="data:,"><script>
  window.states = [], window.messages = [], window.gaps = [];
  async function start(module, options) {
    const { listen } = await import(module);
    window.subscription = listen({
      onState: (state) => states.push(state),
      onNotification: ({ message }) => messages.push(message),
      onGap: (gap) => gaps.push(gap),
      ...options,
    });
  }
</script>"""


class ClientPage:
    """A page that subscribes, and everything that its callbacks were given."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.urls: set[str] = set()
        page.on("pageerror", lambda each: self.errors.append(str(each)))
        page.on("request", lambda each: self.urls.add(each.url))
        page.on("websocket", lambda each: self.urls.add(each.url))

    async def start(self, server: str, script: str = "", **options: Any) -> None:
        """Import the client from `server`, and subscribe. `script` has options that are code."""
        source = f"{{ ...{json.dumps(options)}, {script} }}"
        await self.page.evaluate(f"start({json.dumps(f'{server}/client.js')}, {source})")

    async def read(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        return await self.page.evaluate(expression)

    async def state(self) -> Mapping[str, Any]:
        """Return the last state."""
        found: Mapping[str, Any] = await self.read("states.at(-1) ?? {}")
        return found

    async def names(self) -> list[str]:
        """Return the names of all states, oldest first."""
        found: list[str] = await self.read("states.map(({ name }) => name)")
        return found

    async def wait_until(self, expression: str, seconds: float = TIMEOUT) -> None:
        """Wait until a JavaScript expression is true."""

        async def is_true() -> bool:
            return bool(await self.read(expression))

        await eventually(is_true, seconds, expression)

    async def wait_for_state(self, name: str, seconds: float = TIMEOUT) -> None:
        """Wait until the last state has this name."""
        await self.wait_until(f"states.at(-1)?.name === {json.dumps(name)}", seconds)

    async def wait_for_messages(self, *messages: str) -> None:
        """Wait until the page was given exactly these messages, in this order."""
        try:
            await self.wait_until(f"messages.length >= {len(messages)}")
        finally:
            # Also on a timeout: pytest then shows how the lists differ.
            assert await self.read("messages") == list(messages)

    async def set_clock(self, *, days: int) -> None:
        """Let the system clock jump, and nothing else. Needs a page with a clock."""
        await self.page.clock.set_system_time(
            await self.read(f"Date.now() / 1000 + {days} * 86400")
        )


class OtherSite:
    """A web site on another origin than the server's, and a browser to visit it."""

    def __init__(self, chromium: Browser, port: int) -> None:
        self.origin = f"http://{OTHER_SITE}:{port}"
        self._chromium = chromium

    @asynccontextmanager
    async def page(self, *, with_clock: bool = False) -> AsyncIterator[ClientPage]:
        """Open the page, with a clock that is turned by hand if that is wanted."""
        context = await self._chromium.new_context()
        try:
            page = ClientPage(await context.new_page())
            if with_clock:
                await page.page.clock.install()
            await page.page.goto(self.origin)
            yield page
            assert page.errors == []
        finally:
            await context.close()


@asynccontextmanager
async def other_site() -> AsyncIterator[OtherSite]:
    """Serve the page, and run a browser."""

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=HTML, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    async with (
        TestServer(app) as server,
        browser(f"--host-resolver-rules=MAP {OTHER_SITE} 127.0.0.1") as chromium,
    ):
        assert server.port is not None
        yield OtherSite(chromium, server.port)
