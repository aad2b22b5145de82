"""Chromium, and the page `/ui` in it."""

import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Browser, Page, async_playwright

from tests.support import ROOT, ServerProcess, eventually

ARGUMENTS = (
    # Chromium's sandbox does not run as root, which containers of CI systems do.
    "--no-sandbox",
    "--disable-gpu",
    # The rest keeps it from connecting to anything but the server.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AXE = Path(sys.prefix) / "node" / "node_modules" / "axe-core" / "axe.min.js"
MISSING = f"is missing: python3 {ROOT / 'tests/run.py'}"
TIMEOUT = 8.0
"""Seconds to wait for a change of the page."""

WITHOUT_MEMCACHED = {"MEMCACHED_HOST": "127.0.0.1:1"}
"""Settings of a server that finds no memcached: nothing listens on port 1."""

GAP = "Some notifications may have been missed here"
ROWS = "[...document.querySelectorAll('#list .message')].map((each) => each.textContent)"
"""JavaScript for the texts of the list, newest first."""

NETWORK_ERROR = re.compile(r"WebSocket connection to|Failed to load resource")
"""Chromium's own console messages for a server that rejects a request or is away."""


@asynccontextmanager
async def browser(*arguments: str) -> AsyncIterator[Browser]:
    """Run a headless Chromium."""
    program = shutil.which("chromium")
    assert program, f"chromium {MISSING}"
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=program, args=[*ARGUMENTS, *arguments]
        )
        try:
            yield running
        finally:
            await running.close()


class LivePage:
    """The page `/ui` in a browser, with its console errors and the URLs that it requested."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.urls: set[str] = set()
        page.on("console", lambda each: self._on_console(each.type, each.text))
        page.on("pageerror", lambda each: self.errors.append(str(each)))
        page.on("request", lambda each: self.urls.add(each.url))
        page.on("websocket", lambda each: self.urls.add(each.url))

    def _on_console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.errors.append(text)

    def unexpected_errors(self) -> list[str]:
        """Return the console errors, without those of failed connections."""
        return [each for each in self.errors if not NETWORK_ERROR.search(each)]

    async def wait_for_state(self, name: str, seconds: float = TIMEOUT) -> None:
        """Wait for a state of the connection."""
        await self.page.wait_for_selector(f'#state[data-state="{name}"]', timeout=seconds * 1000)

    async def wait_for_rows(self, texts: list[str]) -> None:
        """Wait until the list has exactly these texts, newest first, gaps included."""
        try:
            await self.wait_until(f"{ROWS}.length === {len(texts)}")
            await self.wait_until(f"{ROWS}.join('\\n') === {json.dumps(texts)}.join('\\n')")
        finally:
            # Also on a timeout: pytest then shows how the lists differ.
            assert await self.rows() == texts

    async def wait_until(self, expression: str, seconds: float = TIMEOUT) -> None:
        """Wait until a JavaScript expression is true in the page."""
        # Not playwright's wait_for_function: it uses eval, which the page's policy forbids.

        async def is_true() -> bool:
            return bool(await self.page.evaluate(expression))

        await eventually(is_true, seconds, expression)

    async def rows(self) -> list[str]:
        """Return the texts of the list, newest first."""
        texts: list[str] = await self.page.evaluate(ROWS)
        return texts

    async def check_accessibility(self) -> None:
        """Raise AssertionError if axe-core finds a violation. Requires `bypass_csp=True`."""
        assert AXE.is_file(), f"axe-core {MISSING}"
        # Once per document: loading it takes longer than running it.
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = await self.page.evaluate(
            "axe.run({ resultTypes: ['violations'] }).then((results) => results.violations)"
        )
        assert [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found] == []

    async def publish(self, message: str) -> None:
        """Type a message into the form and press Enter."""
        await self.page.fill("#message", message)
        await self.page.press("#message", "Enter")


@asynccontextmanager
async def live_page(chromium: Browser, url: str, **options: Any) -> AsyncIterator[LivePage]:
    """Open the page at `url`, in a context of its own.

    At the end, check that it requested nothing from elsewhere.
    """
    context = await chromium.new_context(**options)
    try:
        page = LivePage(await context.new_page())
        await page.page.goto(url)
        yield page
        origin = url.partition("://")[2].partition("/")[0]
        for each in page.urls:
            assert each.partition("://")[2].startswith(f"{origin}/") or each[:5] == "data:"
        # A request may be in a handler of `route`, whose answer the closed page cannot take. The
        # error would fail whichever test uses the browser next.
        await page.page.unroute_all(behavior="ignoreErrors")
    finally:
        await context.close()


async def publish(
    server: ServerProcess,
    *messages: str | dict[str, Any],
    topic: str = "main",
    token: str | None = None,
) -> str:
    """Publish texts, or JSON objects, as another client. Return the id of the last notification."""
    id = ""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for message in messages:
            url = f"{server.url}/notifications?topic={topic}"
            body = {"data": message.encode()} if isinstance(message, str) else {"json": message}
            async with session.post(url, **body) as response:
                assert response.status == 201, await response.text()
                id = (await response.json())["id"]
    return id
