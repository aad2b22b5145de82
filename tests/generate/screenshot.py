"""The picture in README.md: `python -m tests.generate.screenshot` writes `.github/ui.png`.

It is separate from `python -m tests.generate`, because it needs Chromium, and the times in the
picture change with every run.
"""

import asyncio
import itertools

from playwright.async_api import ViewportSize

from tests.support import ROOT, running_server
from tests.support.browser import WITHOUT_MEMCACHED, live_page, publish

PICTURE = ROOT / ".github" / "ui.png"
SIZE = ViewportSize(width=1180, height=720)
"""The picture is as high as the page, or as this."""

MAX_BYTES = 150 * 1024

TOPIC = "operations"
EARLIER = (
    "Deploy of api 2.14.0 to production started by Maria",
    "Deploy of api 2.14.0 finished: 12 instances healthy",
    "Backup of orders-db completed in 4 min 12 s (18.3 GB)",
)
"""Published before the page is opened, and so shown as recent."""

LIVE = (
    ("Disk usage on node-07 is at 91 %",),
    (
        "Cleanup on node-07 freed 118 GB",
        "Checkout: 95th percentile above 800 ms for 5 minutes\nRunbook: https://wiki.example.com/checkout-latency",
        "Checkout: on call is Jonas",
    ),
    ("Checkout latency is back to normal",),
    ("Invoice run for November finished: 3,482 sent, 4 failed",),
)
"""Published after it, one group per second, so that the plot has a curve."""

INTERVAL = 1.0


async def take() -> None:
    """Open the page, publish, and write the picture."""
    async with running_server(WITHOUT_MEMCACHED) as server:
        await publish(server, *EARLIER, topic=TOPIC)
        url = f"{server.url}/ui#{TOPIC}"
        async with live_page(url, viewport=SIZE, color_scheme="light", locale="en-US") as page:
            await page.wait_for_state("connected")
            for messages in LIVE:
                await publish(server, *messages, topic=TOPIC)
                await asyncio.sleep(INTERVAL)
            await page.wait_for_rows([*reversed([*EARLIER, *itertools.chain(*LIVE)])])
            await page.wait_until("document.getElementById('clients').textContent === '1'")
            await page.page.screenshot(path=PICTURE, full_page=True)
    size = PICTURE.stat().st_size
    assert size <= MAX_BYTES, f"{PICTURE}: {size} bytes (expected at most {MAX_BYTES})"


if __name__ == "__main__":
    asyncio.run(take())
