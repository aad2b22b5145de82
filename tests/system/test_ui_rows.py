"""The rows of the page `/ui` in a real browser: every field of a notification, safely."""

import json
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.support import running_server
from tests.support.browser import WITHOUT_MEMCACHED, LivePage, live_page, publish

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARKUP = "<img src=x onerror=alert(1)><script>alert(1)</script>"
BACKWARDS = "\u202egnp.exe"

LINKS = {
    "https://example.com/a?b=c#d": "https://example.com/a?b=c#d",
    "HTTP://EXAMPLE.COM/": "http://example.com/",
    "/builds/7": "{origin}/builds/7",
    f"https://x.example/{BACKWARDS}": "https://x.example/%E2%80%AEgnp.exe",
}
"""Addresses that can be followed, and where they lead to."""

NO_LINKS = (
    "javascript:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//example.com/",
    "/\\example.com/",
    "https://",
    "ftp://example.com/",
    MARKUP,
)
"""Addresses that this server refuses, but another one, or an older one, may not."""


async def rows_from_other_server(page: LivePage, notifications: list[dict[str, Any]]) -> None:
    """Let a server that checks nothing send `notifications` to the page."""
    frames = [
        {"type": "notification", "id": str(number), "time": "2026-11-25T08:00:00.000Z"}
        | {"topic": "main", "message": "text", **each}
        for number, each in enumerate(notifications, 5)
    ]
    subscribed = {"type": "subscribed", "topics": ["main"], "id": "99"}
    texts = [json.dumps(each) for each in (*frames, subscribed)]

    async def answer(socket: Any) -> None:
        for text in texts:
            socket.send(text)

    await page.page.route_web_socket("**/ws?*", answer)
    await page.page.reload()
    await page.wait_for_state("connected")
    await page.wait_until(f"document.querySelectorAll('#list li').length === {len(notifications)}")


async def test_all_fields_are_shown(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        data = {"n": [1, "<b>"], "none": None}
        document = {"title": "A title", "message": "A text", "url": "/a", "tag": "t", "data": data}
        await publish(server, document, {"message": "only data", "data": None})
        await page.wait_for_rows(["only data", "A text"])
        row = page.page.locator("#list li").last
        assert await row.locator(".title").inner_text() == "A title"
        assert await row.locator(".tag").inner_text() == "t"
        assert await row.locator(".url a").get_attribute("href") == "/a"
        assert await row.locator(".data pre").count() == 0, "made before it is opened"
        await row.locator("summary").click()
        assert json.loads(await row.locator(".data pre").inner_text()) == data
        await page.page.locator("#list li").first.locator("summary").click()
        assert await page.page.locator("#list li").first.locator("pre").inner_text() == "null"
        assert page.errors == []


async def test_long_data_is_cut_off(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        await publish(server, {"message": "long", "data": "x" * 20_000})
        await page.page.click("#list summary")
        text = await page.page.inner_text("#list pre")
        assert text == '"' + "x" * 9_999 + "…"
        assert "20,002" in await page.page.inner_text("#list .data")
        assert page.errors == []


async def test_newest_of_tag_replaces_older(chromium: Browser) -> None:
    """Of the same topic: the same tag of another topic is another one."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#a,b") as page,
    ):
        await page.wait_for_state("connected")
        await publish(server, {"message": "build 1", "tag": "build"}, "between", topic="a")
        await publish(server, {"message": "other", "tag": "build"}, topic="b")
        await page.wait_for_rows(["other", "between", "build 1"])
        await publish(server, {"message": "build 2", "tag": "build"}, topic="a")
        await page.wait_for_rows(["build 2", "other", "between"])
        # Both in one frame: the first one is never drawn.
        await publish(
            server, *({"message": f"build {n}", "tag": "build"} for n in (3, 4)), topic="a"
        )
        await page.wait_for_rows(["build 4", "other", "between"])
        topics = await page.page.locator("#list .chip:not(.tag)").all_inner_texts()
        assert topics == ["a", "b", "a"]
        assert page.errors == []


@pytest.mark.parametrize("field", ["message", "title", "tag", "topic", "url", "data"])
async def test_markup_stays_text(chromium: Browser, field: str) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        value: Any = {MARKUP: [MARKUP]} if field == "data" else MARKUP
        await rows_from_other_server(page, [{field: value}])
        if field == "data":
            await page.page.click("#list summary")
        await page.page.click("#list .meta button")
        assert await page.page.locator("#list").locator("img, script").count() == 0
        if field != "topic":  # shown in a view of several topics only
            assert "<img src=x onerror=alert(1)>" in await page.page.inner_text("#list")
        assert page.errors == []


async def test_only_safe_addresses_are_links(chromium: Browser) -> None:
    """The text is the address, so that nobody is led elsewhere than it says."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await rows_from_other_server(page, [{"url": each} for each in (*LINKS, *NO_LINKS)])
        found = await page.page.locator("#list .url a").evaluate_all(
            "(all) => all.map((each) => [each.href, each.textContent, each.target, each.rel])"
        )
        assert len(found) == len(LINKS)
        for (href, text, target, rel), (address, expected) in zip(
            reversed(found), LINKS.items(), strict=True
        ):
            assert href == expected.replace("{origin}", server.url)
            assert text == (href if BACKWARDS in address else address)
            assert (target, rel) == ("_blank", "noopener noreferrer")
        texts = await page.page.locator("#list .url").evaluate_all(
            "(all) => all.map((each) => each.textContent)"
        )
        assert texts[: len(NO_LINKS)] == [*reversed(NO_LINKS)]
        assert page.errors == []


async def test_backwards_text_stays_in_its_field(chromium: Browser) -> None:
    """A character that makes text run backwards has no effect on what stands beside it."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        turned = {"title": f"a{BACKWARDS}", "message": f"b{BACKWARDS}", "data": BACKWARDS}
        plain = {"title": "agnp.exe ", "message": "bgnp.exe ", "data": "gnp.exe "}
        places = []
        for each in (plain, turned):
            await publish(server, each)
            await page.wait_until(
                "document.querySelector('#list .title')?.textContent"
                f" === {json.dumps(each['title'])}"
            )
            row = page.page.locator("#list li").first
            box = await row.locator("time").bounding_box()
            assert box is not None
            places.append((box["x"], await row.locator("time").inner_text()))
        assert places[0] == places[1]
        isolation = "(each) => getComputedStyle(each).unicodeBidi"
        for name in (".title", ".message"):
            assert await row.locator(name).evaluate(isolation) == "plaintext"
        assert page.errors == []


async def test_details_have_id_and_copies(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(
            chromium, f"{server.url}/ui", permissions=["clipboard-read", "clipboard-write"]
        ) as page,
    ):
        await page.wait_for_state("connected")
        id = await publish(server, {"message": "text\nin lines", "tag": "t"})
        more = page.page.locator("#list .meta button")
        await more.click()
        assert await more.get_attribute("aria-expanded") == "true"
        assert await page.page.inner_text("#list .details code") == id
        clipboard = "navigator.clipboard.readText()"
        await page.page.click("text=Copy message")
        await page.page.wait_for_selector("#list .details >> text=Copied")
        assert await page.page.evaluate(clipboard) == "text\nin lines"
        await page.page.click("text=Copy JSON")
        await page.wait_until(f"{clipboard}.then((text) => text.includes('{id}'))")
        found = json.loads(await page.page.evaluate(clipboard))
        assert (found["id"], found["tag"]) == (id, "t")
        await more.click()
        assert not await page.page.is_visible("#list .details")
        assert page.errors == []


async def test_times_are_relative(chromium: Browser) -> None:
    """They change while the page is open, and the full time is in the title."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui", locale="en-US", timezone_id="UTC") as page,
    ):
        await page.page.clock.install()
        await page.page.reload()
        await page.wait_for_state("connected")
        await publish(server, "x")
        await page.wait_for_rows(["x"])
        time = page.page.locator("#list time")
        assert await time.inner_text() == "just now"
        await page.page.clock.fast_forward(5 * 60_000 + 1_000)
        assert await time.inner_text() == "5 min ago"
        await page.page.clock.fast_forward(2 * 3_600_000)
        await page.page.clock.run_for(1_000)
        stamp = await time.get_attribute("datetime")
        shown = await page.page.evaluate(
            "new Intl.DateTimeFormat('en-US', { timeStyle: 'short' })"
            f".format(new Date('{stamp}'))"
        )
        assert await time.inner_text() == shown
        assert "UTC" in str(await time.get_attribute("title"))
        assert page.errors == []


async def test_filter_shows_matching_rows(chromium: Browser) -> None:
    """Also of those that come later; it searches all that a row shows."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        await publish(server, "Disk full", {"message": "x", "title": "DISK"}, "other")
        await page.wait_for_rows(["other", "x", "Disk full"])
        await page.page.fill("#filter", " disk ")
        visible = page.page.locator("#list li:visible .message")
        assert await visible.all_inner_texts() == ["x", "Disk full"]
        assert await page.page.inner_text("#shown") == "2 of 3 rows"
        await publish(server, {"message": "y", "tag": "disk"}, "another")
        await page.wait_for_rows(["another", "y", "other", "x", "Disk full"])
        assert await visible.all_inner_texts() == ["y", "x", "Disk full"]
        await page.page.fill("#filter", "nowhere")
        await page.page.wait_for_selector("#nothing >> text=No row matches")
        assert await visible.count() == 0
        await page.page.press("#filter", "Escape")
        assert await visible.count() == 5
        assert page.errors == []
