"""The JavaScript client on a page of another site: interruptions, and what it makes of them."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support import MemcachedProcess, ServerProcess, eventually, running_server
from tests.support.browser import publish
from tests.support.client_page import ClientPage, OtherSite
from tests.support.environment import with_memcached, without_memcached
from tests.support.nginx import running_nginx
from tests.support.peer import running_stream_peer
from tests.support.wire import wire

pytestmark = pytest.mark.asyncio(loop_scope="module")
transports = pytest.mark.parametrize("transport", ["websocket", "events"])

RECONNECT_TIMEOUT = 15
"""Seconds, because the client waits longer after each attempt that fails."""

WATCH_INTERVAL = 5_000
"""Milliseconds between the looks of the client at its connection."""

NOTICED_WITHIN = 65_000
"""Milliseconds in which a dead connection must be noticed: two heartbeats, and three looks."""


@asynccontextmanager
async def restarted(server: ServerProcess, environment: dict[str, str]) -> AsyncIterator[None]:
    """Start another process on the port of one that has ended."""
    async with running_server(environment, "--port", str(server.port)):
        yield


async def turn(page: ClientPage, steps: int, until: str = "false") -> bool:
    """Turn the clock of the page on, one look per step. Return whether `until` became true."""
    for _ in range(steps):
        await page.page.clock.fast_forward(WATCH_INTERVAL)
        # The clock jumps, but data that is on its way needs the time of a request.
        await page.read("fetch(location).then(() => null)")
        if await page.read(until):
            return True
    return False


async def turn_until_lost(page: ClientPage, times: int = 1) -> None:
    """Turn the clock on until the client has noticed a dead connection, and not further.

    A new connection takes real time, which a clock that goes on would not leave it.
    """
    lost = f"states.filter(({{ name }}) => name === 'waiting').length === {times}"
    assert await turn(page, NOTICED_WITHIN // WATCH_INTERVAL, lost)


async def status(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status


@transports
async def test_restart_behind_proxy_misses_nothing(
    site: OtherSite, transport: str, memcached: MemcachedProcess, tmp_path: Path
) -> None:
    """The proxy answers 502 meanwhile, after which an EventSource would give up for good."""
    environment = with_memcached(memcached, AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with (
        running_server(environment) as server,
        running_nginx(server.port, tmp_path) as proxy,
        site.page() as page,
    ):
        await publish(server, "one")
        await page.start(f"http://{proxy}", transport=transport)
        await page.wait_for_state("connected")
        await publish(server, "two")
        assert await server.stop() == 0
        # The second one is after an attempt, and so after a 502.
        await page.wait_until("states.filter(({ name }) => name === 'waiting').length >= 2")
        assert await status(f"http://{proxy}/health") == 502
        async with restarted(server, environment):
            await publish(server, "meanwhile")
            await page.wait_for_state("connected", RECONNECT_TIMEOUT)
            last = await publish(server, "afterwards")
            await page.wait_for_messages("one", "two", "meanwhile", "afterwards")
            assert await page.read("gaps") == []
            assert await page.read("subscription.position") == last


@transports
async def test_crash_is_one_gap(
    site: OtherSite, transport: str, memcached: MemcachedProcess
) -> None:
    environment = with_memcached(memcached, AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with running_server(environment) as server, site.page() as page:
        await page.start(server.url, transport=transport)
        await page.wait_for_state("connected")
        await publish(server, "one")
        await page.wait_for_messages("one")
        await server.stop(signal.SIGKILL)
        await page.wait_for_state("waiting")
        async with restarted(server, environment):
            await publish(server, "meanwhile")
            await page.wait_for_state("connected", RECONNECT_TIMEOUT)
            await page.read("subscription.reconnect()")
            await page.wait_for_state("connected")
            await publish(server, "afterwards")
            await page.wait_for_messages("one", "meanwhile", "afterwards")
            (gap,) = await page.read("gaps")
            assert (gap["type"], gap["missed"]) == ("gap", None)


@transports
async def test_frozen_server_is_noticed(site: OtherSite, transport: str) -> None:
    """So is one that accepts connections and does not answer: the kernel does that for it."""
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with running_server(environment) as server, site.page(with_clock=True) as page:
        await page.start(server.url, transport=transport)
        await page.wait_for_state("connected")
        await publish(server, "one")
        await page.wait_for_messages("one")
        server.process.send_signal(signal.SIGSTOP)
        for times in (1, 2):
            await turn_until_lost(page, times)
        server.process.send_signal(signal.SIGCONT)
        await page.wait_for_state("connected", RECONNECT_TIMEOUT)
        await publish(server, "two")
        await page.wait_for_messages("one", "two")
        assert await page.read("gaps") == []


@transports
async def test_silent_link_is_replaced(site: OtherSite, transport: str) -> None:
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with (
        running_server(environment) as server,
        wire(server.port) as between,
        site.page(with_clock=True) as page,
    ):
        await page.start(f"http://127.0.0.1:{between.port}", transport=transport)
        await page.wait_for_state("connected")
        between.silence_subscribers()
        await publish(server, "unseen")
        await turn_until_lost(page)
        await page.wait_for_messages("unseen")
        assert await page.read("gaps") == []


@transports
async def test_clock_jump_changes_nothing(site: OtherSite, transport: str) -> None:
    """A good connection stays if the clock jumps ahead, a dead one is noticed if it jumps back."""
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with (
        running_server(environment) as server,
        wire(server.port) as between,
        site.page(with_clock=True) as page,
    ):
        await page.start(f"http://127.0.0.1:{between.port}", transport=transport)
        await page.wait_for_state("connected")
        await page.set_clock(days=1)
        await turn(page, steps=4)
        await publish(server, "one")
        await page.wait_for_messages("one")
        assert await page.names() == ["connecting", "connected"]
        await page.set_clock(days=-2)
        between.silence_subscribers()
        await publish(server, "two")
        await turn_until_lost(page)
        await page.wait_for_messages("one", "two")
        assert await page.read("gaps") == []


@transports
async def test_waking_page_reconnects_at_once(site: OtherSite, transport: str) -> None:
    """When the network is back, or the page is shown again, the delay is over."""
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with (
        running_server(environment) as server,
        wire(server.port) as between,
        site.page(with_clock=True) as page,
    ):
        await page.start(f"http://127.0.0.1:{between.port}", transport=transport)
        await page.wait_for_state("connected")
        await page.page.clock.pause_at(await page.read("Date.now() / 1000 + 1"))
        for event in (
            "dispatchEvent(new Event('online'))",
            "document.dispatchEvent(new Event('visibilitychange'))",
        ):
            between.cut()
            await page.wait_for_state("waiting")
            between.mend()
            await page.read(event)
            await page.wait_for_state("connected")


@transports
async def test_closed_subscription_is_silent(site: OtherSite, transport: str) -> None:
    """Also if it is closed by a callback; and nothing revives it."""
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with running_server(environment) as server, site.page() as page:
        await publish(server, "one", "two")
        once = "onNotification(each) { messages.push(each.message); subscription.close(); }"
        await page.start(server.url, once, transport=transport)
        await page.wait_for_messages("one")
        await page.read("subscription.reconnect(), dispatchEvent(new Event('online'))")
        await page.start(server.url, transport=transport)  # a round trip, and a second subscription
        await page.wait_for_state("connected")
        assert await page.read("messages") == ["one", "one", "two"]
        assert await page.names() == ["connecting", "connecting", "connected"]


@transports
async def test_error_of_callback_is_reported(site: OtherSite, transport: str) -> None:
    """It is the application's, and ends neither the connection nor the subscription."""
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with running_server(environment) as server, site.page() as page:
        await publish(server, "one")
        broken = "onNotification({ message }) { messages.push(message); throw new Error(message); }"
        await page.start(server.url, broken, transport=transport)
        await page.wait_for_state("connected")
        await publish(server, "two")
        await page.wait_for_messages("one", "two")
        await eventually(lambda: page.errors == ["one", "two"])
        assert await page.names() == ["connecting", "connected"]
        page.errors.clear()


@transports
async def test_several_topics_share_a_connection(site: OtherSite, transport: str) -> None:
    """One position serves all of them when the client resumes."""
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with running_server(environment) as server, site.page() as page:
        await page.start(server.url, transport=transport, topics=["a", "b"])
        await page.wait_for_state("connected")
        await publish(server, "to a", topic="a")
        await publish(server, "to b", topic="b")
        await page.wait_for_messages("to a", "to b")
        await page.read("subscription.reconnect()")
        await page.wait_for_state("connected")
        await publish(server, "again", topic="a")
        await page.wait_for_messages("to a", "to b", "again")
        assert await page.read("gaps") == []


async def test_errors_of_proxies_are_temporary(site: OtherSite) -> None:
    """Their status is known if the page may read it."""
    subscribed = '{"type":"subscribed","topics":["main"],"id":"5"}'
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    async with (
        running_server(environment) as server,
        running_stream_peer(502, 404, [subscribed], held=2) as peer,
        site.page() as page,
    ):
        await page.start(server.url, url=peer.url, transport="events")
        await page.wait_for_state("connected", RECONNECT_TIMEOUT)
        waits = "states.filter(({ name }) => name === 'waiting')"
        assert await page.read(f"{waits}.map(({{ status }}) => status)") == [502, 404]
        assert await page.read(f"{waits}[0].reason") == "HTTP 502"
