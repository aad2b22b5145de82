"""The states of the page `/ui`, for pictures of it and for tests that look at each."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from playwright.async_api import Browser

from tests.support.browser import WITHOUT_MEMCACHED, LivePage, live_page, publish
from tests.support.server import ServerProcess, running_server

USER = "admin-0123456789"
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

Show = Callable[[ServerProcess, LivePage, AsyncExitStack], Awaitable[object]]
"""Brings the page into a state. The stack ends what must go on while it is looked at."""


async def show_busy(server: ServerProcess, page: LivePage, stack: AsyncExitStack) -> None:
    """Show a topic with all kinds of notifications, and others beside it."""
    await open_topics(server, page)
    for messages in LIVE:
        await publish(server, *messages, topic=TOPIC)
    await page.page.wait_for_selector("#list li >> nth=6")


async def open_topics(server: ServerProcess, page: LivePage) -> None:
    """Open several topics, so that the page remembers them; one has unread notifications."""
    for topic in (*OTHERS, TOPIC):
        await page.page.goto(f"{server.url}/ui#{topic}")
        await page.wait_for_state("connected")
    await publish(server, "#1843 passed", "#1844 failed", topic=OTHERS[-1])
    await page.page.wait_for_selector(f'#topics a[data-view="{OTHERS[-1]}"] .count >> text=2')


async def show_details(server: ServerProcess, page: LivePage, stack: AsyncExitStack) -> None:
    """Show a notification with its data and its details, and a long one."""
    await show_busy(server, page, stack)
    await publish(server, "A long one. " * 60, topic=TOPIC)
    await page.page.click("#list .data summary")
    await page.page.locator("#list li", has_text="Checkout").locator(".meta button").click()
    await page.page.click("text=Title, link, tag")


async def show_several(server: ServerProcess, page: LivePage, stack: AsyncExitStack) -> None:
    await page.page.goto(f"{server.url}/ui#builds,{TOPIC},a-topic-with-a-rather-long-name")
    await page.wait_for_state("connected")
    await publish(server, "#1844 failed", topic="builds")
    await publish(server, "All is well again", topic="a-topic-with-a-rather-long-name")
    await publish(server, *LIVE[1], "مرحبا Hello", topic=TOPIC)
    await page.page.wait_for_selector("#list li >> nth=6")


async def show_empty(server: ServerProcess, page: LivePage, stack: AsyncExitStack) -> None:
    await page.page.goto(f"{server.url}/ui#quiet")
    await page.wait_for_state("connected")


async def show_filter(server: ServerProcess, page: LivePage, stack: AsyncExitStack) -> None:
    await page.wait_for_state("connected")
    await page.page.fill("#filter", "backup")


async def show_gap(server: ServerProcess, page: LivePage, stack: AsyncExitStack) -> None:
    """Show the topic after a crash of the server."""
    await page.wait_for_state("connected")
    await server.stop(signal.SIGKILL)
    again = running_server(WITHOUT_MEMCACHED, "--port", str(server.port))
    await stack.enter_async_context(again)
    await page.wait_for_state("connected", 15)
    await publish(server, "Deploy of api 2.14.0 finished", topic=TOPIC)
    await page.page.wait_for_selector("#list .gap")


async def show_error(server: ServerProcess, page: LivePage, stack: AsyncExitStack) -> None:
    """Show the page while the server is away, with a message that it cannot send."""
    await page.wait_for_state("connected")
    await server.stop(signal.SIGKILL)
    await page.wait_for_state("waiting")
    await page.publish("Is anybody there?")
    await page.page.wait_for_selector("#published.wrong")


async def show_token(server: ServerProcess, page: LivePage, stack: AsyncExitStack) -> None:
    await page.page.wait_for_selector("#token-form:not([hidden])")


async def show_invalid(server: ServerProcess, page: LivePage, stack: AsyncExitStack) -> None:
    await page.page.goto(f"{server.url}/ui#not%20a%20topic")
    await page.wait_for_state("rejected")


STATES: dict[str, Show] = {
    "busy": show_busy,
    "details": show_details,
    "several": show_several,
    "empty": show_empty,
    "filter": show_filter,
    "gap": show_gap,
    "error": show_error,
    "token": show_token,
    "invalid": show_invalid,
}


@asynccontextmanager
async def page_in_state(chromium: Browser, state: str, **look: Any) -> AsyncIterator[LivePage]:
    """Open the page with a topic, and bring it into a state."""
    tokens = {"AIONOTIFY_USER_TOKEN": USER} if state == "token" else {}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server({**WITHOUT_MEMCACHED, **tokens}))
        await publish(server, *EARLIER, topic=TOPIC, token=USER)
        opened = live_page(chromium, f"{server.url}/ui#{TOPIC}", **look)
        page = await stack.enter_async_context(opened)
        await STATES[state](server, page, stack)
        yield page
