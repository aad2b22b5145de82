"""The JavaScript client with JWTs that expire, against our server."""

import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from aionotify.client import publish
from tests.support import ServerProcess, eventually, running_server
from tests.support.client_page import ClientPage, OtherSite
from tests.support.environment import without_memcached
from tests.support.jwts import SECRET, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

RENEWING = "token({ renew }) { asked.push(renew); return tokens.shift(); }"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(site: OtherSite) -> AsyncIterator[ServerProcess]:
    """A server that accepts JWTs, and pages of the other site."""
    environment = without_memcached(
        AIONOTIFY_JWT_SECRET=SECRET, AIONOTIFY_ALLOWED_ORIGINS=site.origin
    )
    async with running_server(environment) as process:
        yield process


def user_token(seconds: int) -> str:
    """Return a token of the user 42 for topics of that user."""
    return token("subscribe:user.42.*", exp=int(time.time()) + seconds)


async def start(page: ClientPage, server: ServerProcess, *tokens: str, transport: str) -> None:
    await page.read(f"window.asked = [], window.tokens = {json.dumps(tokens)}")
    topics = [f"user.42.{transport}", "user.42.all"]
    await page.start(server.url, RENEWING, topics=topics, transport=transport)
    await page.wait_for_state("connected")


@pytest.mark.parametrize(
    ("transport", "asked"), [("websocket", [False, True]), ("events", [False, False, True])]
)
async def test_expired_token_misses_nothing(
    site: OtherSite, server: ServerProcess, transport: str, asked: list[bool]
) -> None:
    """The server ends the connection, and the next one resumes with a new token.

    The end of a stream has no reason, so the old token is tried once more.
    """
    admin, old = token("publish:*"), user_token(2)
    async with site.page() as page:
        tokens = [*[old] * (len(asked) - 1), user_token(60)]
        await start(page, server, *tokens, transport=transport)
        for state, message in (("connected", "a"), ("waiting", "b")):
            await page.wait_for_state(state)
            await publish(server.url, message, f"user.42.{transport}", token=admin)
        await page.wait_for_messages("a", "b")
        assert await page.read("asked") == asked
        assert await page.read("gaps") == []
        await page.read("subscription.close()")


async def test_token_is_renewed_on_the_open_connection(
    site: OtherSite, server: ServerProcess
) -> None:
    async with site.page(with_clock=True) as page:
        received: list[str] = []
        page.page.on(
            "websocket",
            lambda socket: socket.on("framereceived", lambda data: received.append(str(data))),
        )
        await start(page, server, user_token(60), user_token(120), transport="websocket")

        async def authorized() -> bool:
            await page.page.clock.fast_forward(5000)
            await page.read("fetch(location).then(() => null)")
            return any('"type":"authorized"' in each for each in received)

        await eventually(authorized)
        assert await page.read("asked") == [False, True]
        assert await page.names() == ["connecting", "connected"]
        await page.read("subscription.close()")


async def test_missing_scope_is_rejected(site: OtherSite, server: ServerProcess) -> None:
    """The page is told which one, over the transport that can see it."""
    async with site.page() as page:
        await page.start(server.url, topics=["user.43"], transport="events", token=user_token(60))
        await page.wait_for_state("rejected")
        state = await page.state()
        assert state["status"] == 403
        assert "subscribe:user.43" in state["reason"]
