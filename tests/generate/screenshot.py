"""Pictures of the page `/ui`.

`python -m tests.generate.screenshot` writes `.github/ui.png`, the picture in README.md.
`python -m tests.generate.screenshot --states FOLDER` writes every state of the page into a folder,
for a look at a changed page.

It is separate from `python -m tests.generate`, because it needs Chromium, and the times in the
picture change with every run.
"""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from playwright.async_api import ViewportSize

from tests.support import ROOT, running_server
from tests.support.browser import WITHOUT_MEMCACHED, browser, live_page, publish
from tests.support.page_states import (
    EARLIER,
    LIVE,
    OTHERS,
    STATES,
    TOPIC,
    open_topics,
    page_in_state,
)

PICTURE = ROOT / ".github" / "ui.png"
SIZE = ViewportSize(width=1180, height=720)
MAX_BYTES = 150 * 1024
INTERVAL = 1.0
"""Seconds between the notifications, so that the plot has a curve."""

DESKTOP, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)
LOOKS: dict[str, dict[str, Any]] = {
    "1280": {"viewport": DESKTOP},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "390": {"viewport": PHONE},
    "390-dark": {"viewport": PHONE, "color_scheme": "dark"},
    "320": {"viewport": ViewportSize(width=320, height=640)},
    "zoomed": {"viewport": ViewportSize(width=640, height=400), "device_scale_factor": 2},
}


async def take_states(folder: Path, only: str) -> None:
    """Write the states of the page in all looks, or those whose name contains `only`."""
    async with browser() as chromium:
        for state in STATES:
            for name, look in LOOKS.items():
                if only in f"{state}-{name}":
                    async with page_in_state(chromium, state, locale="en-US", **look) as page:
                        await page.page.screenshot(path=folder / f"{state}-{name}.png")


async def take_picture() -> None:
    """Write the picture of README.md."""
    look: dict[str, Any] = {"viewport": SIZE, "color_scheme": "light", "locale": "en-US"}
    async with running_server(WITHOUT_MEMCACHED) as server, browser() as chromium:
        await publish(server, *EARLIER, topic=TOPIC)
        async with live_page(chromium, f"{server.url}/ui#{TOPIC}", **look) as page:
            await open_topics(server, page)
            for messages in LIVE:
                await publish(server, *messages, topic=TOPIC)
                await asyncio.sleep(INTERVAL)
            clients = f"document.getElementById('clients').textContent === '{1 + len(OTHERS)}'"
            await page.wait_until(clients)
            await page.page.screenshot(path=PICTURE)
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
