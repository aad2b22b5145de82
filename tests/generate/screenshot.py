"""Pictures of the page `/ui`.

`python -m tests.generate.screenshot` writes `.github/ui.png`, the picture in README.md.
`python -m tests.generate.screenshot --states FOLDER` writes every state of the page into a folder,
for a look at a changed page.

It is separate from `python -m tests.generate`, because it needs Chromium, and the times in the
picture change with every run.
"""

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, ViewportSize

from tests.support import ROOT, ServerProcess, running_server
from tests.support.browser import WITHOUT_MEMCACHED, LivePage, browser, live_page, publish

PICTURE = ROOT / ".github" / "ui.png"
MAX_BYTES = 150 * 1024

WIDE, PHONE = ViewportSize(width=1180, height=720), ViewportSize(width=390, height=844)
DESKTOP, NARROW = ViewportSize(width=1280, height=800), ViewportSize(width=320, height=640)
TOKEN = "admin-0123456789"
TOPIC = "operations"

EARLIER: tuple[str | dict[str, Any], ...] = (
    "Deploy of api 2.14.0 to production started by Maria",
    {"title": "Backup completed", "message": "orders-db, 18.3 GB in 4 min 12 s", "tag": "backup"},
)
"""Published before the page is opened, and so shown as recent."""

LIVE: tuple[tuple[str | dict[str, Any], ...], ...] = (
    ("Disk usage on node-07 is at 91 %",),
    (
        "Cleanup on node-07 freed 118 GB",
        {
            "title": "Checkout is slow",
            "message": "The 95th percentile is above 800 ms for 5 minutes. On call is Jonas.",
            "url": "https://wiki.example.com/checkout-latency",
            "tag": "checkout",
            "data": {"service": "checkout", "p95_ms": 812, "regions": ["eu-west", "us-east"]},
        },
    ),
    ("Deploy of api 2.14.0 finished: 12 instances healthy",),
    ("Invoice run for November finished: 3,482 sent, 4 failed",),
)
"""Published after it, one group per second, so that the plot has a curve."""

OTHERS = ("main", "builds")
"""Topics that the page remembers. The second has unread notifications."""

INTERVAL = 1.0
Show = Callable[[ServerProcess, LivePage], Awaitable[object]]


async def show_busy(server: ServerProcess, page: LivePage) -> None:
    """Show a topic with all kinds of notifications, and others beside it."""
    for topic in (*OTHERS, TOPIC):
        await page.page.goto(f"{server.url}/ui#{topic}")
        await page.wait_for_state("connected")
    await publish(server, "#1843 passed", "#1844 failed", topic=OTHERS[-1])
    for messages in LIVE:
        await publish(server, *messages, topic=TOPIC)
        await asyncio.sleep(INTERVAL)
    await page.wait_until(f"document.getElementById('clients').textContent === '{1 + len(OTHERS)}'")


async def show_details(server: ServerProcess, page: LivePage) -> None:
    """Show a notification with its data and its details, and a long one."""
    await show_busy(server, page)
    await publish(server, "A long one. " * 60, topic=TOPIC)
    await page.page.click("#list .data summary")
    await page.page.locator("#list li", has_text="Checkout").locator(".meta button").click()
    await page.page.click("text=Title, link, tag")


async def show_several(server: ServerProcess, page: LivePage) -> None:
    await page.page.goto(f"{server.url}/ui#builds,{TOPIC},a-topic-with-a-rather-long-name")
    await page.wait_for_state("connected")
    await publish(server, "#1844 failed", topic="builds")
    await publish(server, "All is well again", topic="a-topic-with-a-rather-long-name")
    await publish(server, *LIVE[1], "مرحبا Hello", topic=TOPIC)
    await page.page.wait_for_selector("#list li >> nth=6")


async def show_empty(server: ServerProcess, page: LivePage) -> None:
    await page.page.goto(f"{server.url}/ui#quiet")
    await page.wait_for_state("connected")


async def show_filter(server: ServerProcess, page: LivePage) -> None:
    await page.wait_for_state("connected")
    await page.page.fill("#filter", "backup")


async def show_gap(server: ServerProcess, page: LivePage) -> None:
    """Show the topic after a crash of the server."""
    await page.wait_for_state("connected")
    await server.stop(signal.SIGKILL)
    async with running_server(WITHOUT_MEMCACHED, "--port", str(server.port)):
        await page.wait_for_state("connected", 15)
        await publish(server, "Deploy of api 2.14.0 finished", topic=TOPIC)
        await page.page.wait_for_selector("#list .gap")


async def show_error(server: ServerProcess, page: LivePage) -> None:
    """Show the page while the server is away, with a message that it cannot send."""
    await page.wait_for_state("connected")
    await server.stop(signal.SIGKILL)
    await page.wait_until("document.getElementById('countdown').textContent > 'in 2'", 15)
    await page.publish("Is anybody there?")
    await page.page.wait_for_selector("#published.wrong")


async def show_token(server: ServerProcess, page: LivePage) -> None:
    await page.page.wait_for_selector("#token-form:not([hidden])")


LOOKS: dict[str, dict[str, Any]] = {
    "1280": {"viewport": DESKTOP},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "390": {"viewport": PHONE},
    "390-dark": {"viewport": PHONE, "color_scheme": "dark"},
    "320": {"viewport": NARROW},
}
STATES: dict[str, Show] = {
    "busy": show_busy,
    "details": show_details,
    "several": show_several,
    "empty": show_empty,
    "filter": show_filter,
    "gap": show_gap,
    "error": show_error,
    "token": show_token,
}


async def take(chromium: Browser, show: Show, path: Path, **look: Any) -> None:
    """Open the page with a topic, bring it into a state, and write the picture."""
    tokens = {"AIONOTIFY_USER_TOKEN": TOKEN} if show is show_token else {}
    async with running_server({**WITHOUT_MEMCACHED, **tokens}) as server:
        await publish(server, *EARLIER, topic=TOPIC)
        url = f"{server.url}/ui#{TOPIC}"
        async with live_page(chromium, url, locale="en-US", **look) as page:
            await show(server, page)
            await page.page.screenshot(path=path)


async def take_states(folder: Path, only: str) -> None:
    """Write the states of the page in all looks, or those whose name contains `only`."""
    async with browser() as chromium:
        for state, show in STATES.items():
            for name, look in LOOKS.items():
                if only in f"{state}-{name}":
                    await take(chromium, show, folder / f"{state}-{name}.png", **look)


async def take_picture() -> None:
    """Write the picture of README.md."""
    async with browser() as chromium:
        await take(chromium, show_busy, PICTURE, viewport=WIDE, color_scheme="light")
    size = PICTURE.stat().st_size
    assert size <= MAX_BYTES, f"{PICTURE}: {size} bytes (expected at most {MAX_BYTES})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take pictures of the page /ui.")
    parser.add_argument("--states", type=Path, metavar="FOLDER", help="all states, into a folder")
    parser.add_argument("--only", default="", help="states and looks whose name contains this")
    arguments = parser.parse_args()
    if arguments.states:
        asyncio.run(take_states(arguments.states, arguments.only))
    else:
        asyncio.run(take_picture())
