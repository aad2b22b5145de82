"""The JavaScript client on a page of another site: rejections and tokens."""

from contextlib import AsyncExitStack

import pytest

from tests.support import running_server
from tests.support.client_page import OTHER_SITE, ClientPage, OtherSite
from tests.support.environment import without_memcached

pytestmark = pytest.mark.asyncio(loop_scope="module")
transports = pytest.mark.parametrize("transport", ["websocket", "events"])

USER = "user-0123456789a"


async def rejection(page: ClientPage, reason: str) -> int:
    """Wait for a rejection whose reason has this text, and return its status."""
    await page.wait_for_state("rejected")
    state = await page.state()
    assert reason in state["reason"]
    assert "retryAt" not in state
    return int(state["status"])


@transports
async def test_rejection_has_status_and_reason(site: OtherSite, transport: str) -> None:
    """It is the server's sentence, and there is no other attempt until `reconnect()`."""
    closed = without_memcached(AIONOTIFY_USER_TOKEN=USER, AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    local = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with AsyncExitStack() as stack:
        private = await stack.enter_async_context(running_server(closed))
        server = await stack.enter_async_context(running_server(local))
        page = await stack.enter_async_context(site.page(with_clock=True))

        await page.start(private.url, transport=transport)
        assert await rejection(page, "A token is required to subscribe") == 401
        await page.start(private.url, transport=transport, token="wrong-0123456789")
        assert await rejection(page, "The token is invalid or has expired") == 401
        await page.start(server.url, transport=transport, topics=["not a topic"])
        assert await rejection(page, "topic: invalid value 'not a topic'") == 400
        named = f"http://{OTHER_SITE}:{server.port}"
        await page.start(server.url, transport=transport, url=named)
        assert await rejection(page, "This server is for this machine only") == 403

        attempts = len(await page.names())
        await page.page.clock.fast_forward(60_000)
        await page.read("dispatchEvent(new Event('online'))")
        assert len(await page.names()) == attempts == 2 * 4


@transports
async def test_refused_token_is_asked_for_once_more(site: OtherSite, transport: str) -> None:
    """If the new one is the same, the subscription is rejected; `reconnect()` asks again."""
    environment = without_memcached(
        AIONOTIFY_USER_TOKEN=USER, AIONOTIFY_ALLOWED_ORIGINS=site.origin
    )
    async with running_server(environment) as server, site.page() as page:
        await page.read("window.asked = [], window.token = 'wrong-0123456789'")
        ask = "token: async ({ renew }) => { asked.push(renew); return window.token; }"
        await page.start(server.url, ask, transport=transport)
        assert await rejection(page, "The token is invalid or has expired") == 401
        assert await page.read("asked") == [False, True]
        await page.read(f"window.token = '{USER}', subscription.reconnect()")
        await page.wait_for_state("connected")
        assert await page.read("asked") == [False, True, False]
        cached = f"token: ({{ renew }}) => renew ? '{USER}' : 'expired-0123456789'"
        await page.start(server.url, cached, transport=transport)
        await page.wait_for_state("connected")
        assert (await page.names())[-2:] == ["connecting", "connected"]
        assert not any(USER in each for each in page.urls)


@transports
async def test_failing_token_function_is_asked_again(site: OtherSite, transport: str) -> None:
    """With a growing delay: the application's own server may be away as well."""
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with running_server(environment) as server, site.page(with_clock=True) as page:
        await page.read("window.asked = 0, Math.random = () => 1")
        fails = "token() { if (++asked < 4) throw new Error('offline'); return ''; }"
        await page.start(server.url, fails, transport=transport)
        for attempt, delay in enumerate((500, 1000, 2000), 1):
            await page.wait_until(f"asked === {attempt}")
            await page.wait_for_state("waiting")
            assert (await page.state())["reason"] == "No token: Error: offline"
            remaining = await page.read("states.at(-1).retryAt - performance.now()")
            assert delay - 500 < remaining <= delay
            await page.page.clock.fast_forward(delay)
        await page.wait_for_state("connected")


@transports
async def test_unusable_token_is_rejected_unseen(site: OtherSite, transport: str) -> None:
    """Neither the reason nor the console shows it."""
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    place = {"websocket": "a WebSocket subprotocol", "events": "an HTTP header"}[transport]
    async with running_server(environment) as server, site.page() as page:
        await page.start(server.url, transport=transport, token="geheim €")
        await page.wait_for_state("rejected")
        assert (await page.state())["reason"] == (
            f"The token contains characters not allowed in {place}."
        )


async def test_invalid_option_is_an_error(site: OtherSite) -> None:
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with running_server(environment) as server, site.page() as page:
        for name, value, expected in (
            ("url", "ftp://example.com", "an http or https address"),
            ("topics", "main", "an array of names"),
            ("transport", "toString", "websocket or events"),
        ):
            error = f'TypeError: {name}: invalid value "{value}" (expected {expected})'
            options = f"{{ {name}: '{value}' }}"
            attempt = f"start('{server.url}/client.js', {options}).catch(String)"
            assert await page.read(attempt) == error
