"""The page `/ui` in a real browser: its form, for the right topic and with the right token."""

import pytest

from tests.support import eventually, running_server
from tests.support.browser import WITHOUT_MEMCACHED, live_page, publish
from tests.support.client import connected_clients, recent_messages

pytestmark = pytest.mark.timeout(20)  # starting a browser takes seconds

ADMIN, USER = "admin-0123456789", "user-0123456789a"


async def test_publish_button_names_topic() -> None:
    """A topic that is typed but not submitted is not the one that is published to."""
    async with running_server(WITHOUT_MEMCACHED) as server, live_page(f"{server.url}/ui") as page:
        await page.wait_for_state("connected")
        await page.page.fill("#topic", "alerts")
        assert await page.page.inner_text("#publish") == "Publish to main"
        await page.publish("for main")
        await page.page.wait_for_selector("#published >> text=Published to main.")
        await page.page.press("#topic", "Enter")
        await page.page.wait_for_selector("#publish >> text=Publish to alerts")
        assert await page.page.inner_text("#published") == ""
        await page.publish("for alerts")
        await page.wait_for_rows(["for alerts"])
        assert page.errors == []


@pytest.mark.parametrize("name", ["a%20b", "a/b", "x" * 65])
async def test_invalid_topic_in_url_ends_subscription(name: str) -> None:
    """It is an error, and nothing is received or published until there is a valid one."""
    async with running_server(WITHOUT_MEMCACHED) as server, live_page(f"{server.url}/ui") as page:
        await page.wait_for_state("connected")
        await page.page.goto(f"{server.url}/ui#{name}")
        await page.wait_for_state("rejected")
        assert "Invalid topic name" in await page.page.inner_text("#state-text")
        await eventually(lambda: no_clients(server.url))
        await publish(server, "to the old topic")
        await page.publish("by mistake")
        # None of these must bring the old subscription back.
        await page.page.fill("#token", "something")
        await page.page.press("#token", "Tab")
        await page.page.evaluate("dispatchEvent(new Event('online'))")
        assert await page.page.is_disabled("#publish")
        assert await page.page.get_attribute("#state", "data-state") == "rejected"
        assert await page.rows() == []
        assert await recent_messages(server.url) == ["to the old topic"]
        await page.page.goto(f"{server.url}/ui#main")
        await page.wait_for_rows(["to the old topic"])
        assert page.errors == []


async def no_clients(url: str) -> bool:
    return await connected_clients(url) == 0


async def test_publish_error_clears() -> None:
    """As soon as the message or the token is changed; it would be about another one."""
    environment = {**WITHOUT_MEMCACHED, "AIONOTIFY_ADMIN_TOKEN": ADMIN}
    async with running_server(environment) as server, live_page(f"{server.url}/ui") as page:
        await page.wait_for_state("connected")
        for field in ("message", "token"):
            await page.publish("rejected")
            await page.page.wait_for_selector("#published.wrong")
            await page.page.type(f"#{field}", ADMIN)
            assert await page.page.inner_text("#published") == ""
        await page.publish("accepted")
        await page.page.wait_for_selector("#published:not(.wrong) >> text=Published to main.")
        assert page.unexpected_errors() == []


async def test_publishing_asks_for_admin_token() -> None:
    """The page keeps the message until it is published, and stores the token nowhere."""
    environment = {**WITHOUT_MEMCACHED, "AIONOTIFY_ADMIN_TOKEN": ADMIN}
    async with running_server(environment) as server, live_page(f"{server.url}/ui") as page:
        await page.wait_for_state("connected")
        await page.publish("rejected")
        await page.page.wait_for_selector("#published.wrong >> text=An admin token is required")
        assert await page.page.input_value("#message") == "rejected"
        await page.page.fill("#token", "wrong-0123456789")
        await page.page.click("#publish")
        await page.page.wait_for_selector("#published.wrong >> text=The server rejected the token")
        await page.page.fill("#token", ADMIN)
        await page.page.click("#publish")
        await page.wait_for_rows(["rejected"])
        assert await page.page.input_value("#message") == ""
        stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
        assert await page.page.evaluate(stored) == '[{},{},""]'
        assert not any(ADMIN in each for each in page.urls)
        assert page.unexpected_errors() == []


async def test_subscribing_asks_for_user_token() -> None:
    environment = {
        **WITHOUT_MEMCACHED,
        "AIONOTIFY_ADMIN_TOKEN": ADMIN,
        "AIONOTIFY_USER_TOKEN": USER,
    }
    async with running_server(environment) as server, live_page(f"{server.url}/ui") as page:
        await page.wait_for_state("rejected")
        assert "A token is required" in await page.page.inner_text("#state-text")
        await page.page.fill("#token", "wrong-0123456789")
        await page.page.press("#token", "Tab")
        await page.page.wait_for_selector("#state-text >> text=The server rejected the token")
        await page.page.fill("#token", USER)
        await page.page.press("#token", "Tab")
        await page.wait_for_state("connected")
        assert not any(USER in each for each in page.urls)
        assert page.unexpected_errors() == []
