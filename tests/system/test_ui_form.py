"""The page `/ui` in a real browser: its forms, which publish to the topic on display only."""

import json
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Route

from tests.support import ServerProcess, running_server
from tests.support.browser import WITHOUT_MEMCACHED, live_page, publish
from tests.support.client import recent_messages

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def recent(server: ServerProcess, topic: str = "main") -> list[dict[str, Any]]:
    """Return the recent notifications of a topic, oldest first."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/notifications?topic={topic}") as response,
    ):
        notifications: list[dict[str, Any]] = (await response.json())["notifications"]
        return notifications


async def test_publish_button_names_topic(chromium: Browser) -> None:
    """A topic that is typed but not submitted is not the one that is published to."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        await page.page.fill("#topic", "alerts")
        assert await page.page.inner_text("#publish") == "Send to main"
        await page.publish("for main")
        await page.page.wait_for_selector("#published >> text=Sent to main.")
        assert await recent(server, "alerts") == []
        await page.page.press("#topic", "Enter")
        await page.page.wait_for_selector("#publish >> text=Send to alerts")
        assert await page.page.inner_text("#published") == ""
        assert await page.page.input_value("#topic") == ""
        await page.publish("for alerts")
        await page.wait_for_rows(["for alerts"])
        assert page.errors == []


async def test_several_topics_are_published_to_together(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#a,b") as page,
    ):
        await page.wait_for_state("connected")
        assert await page.page.inner_text("#publish") == "Send to a, b"
        await page.publish("for both")
        await page.page.wait_for_selector("#published >> text=Sent to a, b.")
        for topic in ("a", "b"):
            assert [each["message"] for each in await recent(server, topic)] == ["for both"]
        assert page.errors == []


async def test_fields_are_published(chromium: Browser) -> None:
    """They are behind a disclosure, and emptied with the message."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        assert not await page.page.is_visible("#title")
        await page.page.click("text=Title, link, tag")
        await page.page.fill("#title", "Build 7")
        await page.page.fill("#url", "javascript:alert(1)")
        await page.page.fill("#tag", "build")
        await page.publish("passed")
        await page.page.wait_for_selector("#published.wrong >> text=url")
        await page.page.fill("#url", "/builds/7")
        await page.publish("passed")
        await page.page.wait_for_selector("#published >> text=Sent to main.")
        (found,) = await recent(server)
        fields = {name: found[name] for name in ("title", "message", "url", "tag")}
        assert fields == {
            "title": "Build 7",
            "message": "passed",
            "url": "/builds/7",
            "tag": "build",
        }
        values = "['message', 'title', 'url', 'tag'].map((id) => document.getElementById(id).value)"
        assert await page.page.evaluate(values) == ["", "", "", ""]
        assert page.unexpected_errors() == []


async def test_lost_response_publishes_once(chromium: Browser) -> None:
    """The message is kept, and is not published again when the user sends it again."""
    lost = False

    async def lose_first(route: Route) -> None:
        nonlocal lost
        if route.request.method != "POST" or lost:
            return await route.continue_()
        lost = True
        await route.fetch()
        return await route.abort()

    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        await page.page.route("**/notifications?*", lose_first)
        await page.publish("once")
        await page.page.wait_for_selector("#published.wrong >> text=No response")
        assert await page.page.input_value("#message") == "once"
        await page.page.click("#publish")
        await page.page.wait_for_selector("#published:not(.wrong) >> text=Sent to main.")
        await page.publish("once")
        await page.wait_for_rows(["once", "once"])
        assert [each["message"] for each in await recent(server)] == ["once", "once"]
        assert page.unexpected_errors() == []


@pytest.mark.parametrize("name", ["a%20b", "a/b", "x" * 65, "a,,b", "%"])
async def test_invalid_topic_in_url_shows_nothing(chromium: Browser, name: str) -> None:
    """It is an error, and nothing is shown or published until there is a valid one."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        await page.page.goto(f"{server.url}/ui#{name}")
        await page.wait_for_state("rejected")
        assert "Invalid topic name" in await page.page.inner_text("#state-text")
        await publish(server, "to the old topic")
        await page.publish("by mistake")
        await page.page.evaluate("dispatchEvent(new Event('online'))")
        # The topic from before is still remembered, and counted beside.
        await page.page.wait_for_selector('#topics a[data-view="main"] .count >> text=1')
        assert await page.page.is_disabled("#publish")
        assert await page.page.get_attribute("#state", "data-state") == "rejected"
        assert await page.rows() == []
        assert await recent_messages(server.url) == ["to the old topic"]
        await page.page.goto(f"{server.url}/ui#main")
        await page.wait_for_rows(["to the old topic"])
        assert page.errors == []


async def test_message_without_text_is_not_sent(chromium: Browser) -> None:
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.wait_for_state("connected")
        await page.publish(" \n ")
        await page.publish("text")
        await page.wait_for_rows(["text"])
        assert await recent_messages(server.url) == ["text"]
        assert page.errors == []


async def test_only_topic_names_are_stored(chromium: Browser) -> None:
    """They come back with the next visit, and anything else in their place is ignored."""
    stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui#a,b") as page,
    ):
        await page.wait_for_state("connected")
        await page.publish("secret")
        await page.wait_for_rows(["secret", "secret"])
        assert json.loads(await page.page.evaluate(stored)) == [
            {"aionotify.topics": '["a,b"]'},
            {},
            "",
        ]
        await page.page.goto(f"{server.url}/ui#c")
        await page.page.wait_for_selector('#topics [aria-current] >> text="c"')
        await page.page.reload()
        await page.page.wait_for_selector("#topics li >> nth=1")
        names = page.page.locator("#topics .name")
        assert await names.all_inner_texts() == ["a, b", "c"]
        await page.page.click('button[title="Forget a,b"]')
        await page.wait_until("document.querySelectorAll('#topics li').length === 1")
        for bad in ('{"a":1}', '["<b>", 7, null, "ok", "ok,"]', "no JSON"):
            await page.page.evaluate(f"localStorage.setItem('aionotify.topics', {json.dumps(bad)})")
            await page.page.reload()
            await page.wait_for_state("connected")
            await page.page.wait_for_selector("#topics [aria-current]")
            assert set(await names.all_inner_texts()) <= {"ok", "c"}
        assert page.errors == []


async def test_page_works_without_storage(chromium: Browser) -> None:
    """Browsers can block it for a site: every access then raises an error."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/ui") as page,
    ):
        await page.page.add_init_script(
            "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } })"
        )
        await page.page.reload()
        await page.wait_for_state("connected")
        await page.page.fill("#topic", "other")
        await page.page.press("#topic", "Enter")
        await page.page.wait_for_selector('#topics [aria-current] >> text="other"')
        assert await page.page.locator("#topics li").count() == 2
        assert page.errors == []
