"""Rejected requests are counted by reason; the log tells why, in few lines and without tokens."""

import logging

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from aionotify.access import Access
from aionotify.errors import (
    BadToken,
    Forbidden,
    InvalidRequest,
    Rejected,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from aionotify.hub import Hub
from aionotify.rejections import count_rejections
from aionotify.settings import Settings
from aionotify.stats import RejectReason

TOKEN = "a-token-that-nobody-sees"
FORWARDED = {"X-Forwarded-For": "192.0.2.7"}


@pytest.fixture
def hub() -> Hub:
    return Hub(history_limit=10, ttl=60, max_connections=10)


async def ask(
    hub: Hub, error: Exception, target: str = "/ws", headers: dict[str, str] | None = None
) -> None:
    """Send a request that is rejected with `error`, through a trusted proxy."""

    async def handler(request: web.Request) -> web.StreamResponse:
        raise error

    request = make_mocked_request("GET", target, headers={**FORWARDED, **(headers or {})})
    middleware = count_rejections(Access(Settings(trusted_proxies=1)), hub)
    with pytest.raises(type(error)) as raised:
        await middleware(request, handler)
    assert raised.value is error


async def lines(
    hub: Hub, caplog: pytest.LogCaptureFixture, error: Rejected, *requests: dict[str, str]
) -> list[str]:
    """Return the lines for several requests with these headers, including those held back."""
    caplog.set_level(logging.INFO)
    for headers in requests:
        await ask(hub, error, f"/ws?token={TOKEN}", headers)
    hub.stats.incidents.close()
    assert TOKEN not in caplog.text
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (Unauthorized("no token", RejectReason.TOKEN), {RejectReason.TOKEN: 1}),
        (Forbidden("bad origin", RejectReason.ORIGIN), {RejectReason.ORIGIN: 1}),
        (InvalidRequest("bad topic"), {}),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_rejection_is_counted_and_raised(
    error: Exception, counted: dict[RejectReason, int], hub: Hub
) -> None:
    await ask(hub, error)
    assert hub.stats.rejected == counted


async def test_response_passes_uncounted(hub: Hub) -> None:
    response = web.Response()

    async def handler(request: web.Request) -> web.StreamResponse:
        return response

    middleware = count_rejections(Access(Settings()), hub)
    assert await middleware(make_mocked_request("GET", "/"), handler) is response
    assert not hub.stats.rejected


async def test_wrong_tokens_are_counted(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """The first at once, the others as a number with the last address."""
    error = Unauthorized("no token", RejectReason.TOKEN)
    addresses = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(1, 5)]
    assert await lines(hub, caplog, error, *addresses) == [
        "rejected GET /ws from 192.0.2.1: no valid token",
        "3 more in 0 s, the last: rejected GET /ws from 192.0.2.4: no valid token",
    ]


async def test_cause_of_bad_token_is_told(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    error = BadToken("The token is invalid or has expired.", "it expired 5 minutes ago")
    assert await lines(hub, caplog, error, {}) == [
        "rejected GET /ws from 192.0.2.7: no valid token: it expired 5 minutes ago"
    ]


async def test_foreign_origin_is_named_once(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    error = Forbidden("bad origin", RejectReason.ORIGIN)
    page = {"Origin": "https://a.example", "Host": "127.0.0.1:8000"}
    other = {"Origin": "https://b.example\u0085forged", "Host": "x"}
    assert await lines(hub, caplog, error, page, page, other, page) == [
        "rejected origin 'https://a.example' (GET /ws from 192.0.2.7, Host '127.0.0.1:8000'): if "
        "it is yours, add it to AIONOTIFY_ALLOWED_ORIGINS, or have the proxy pass Host or "
        "X-Forwarded-Host",
        "rejected origin 'https://b.example\\x85forged' (GET /ws from 192.0.2.7, Host 'x'): if it "
        "is yours, add it to AIONOTIFY_ALLOWED_ORIGINS, or have the proxy pass Host or "
        "X-Forwarded-Host",
    ]


async def test_foreign_host_is_named_once(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    error = Forbidden("bad host", RejectReason.HOST)
    assert await lines(hub, caplog, error, {"Host": "a.example"}, {"Host": "a.example"}) == [
        "rejected host name 'a.example' (GET /ws from 192.0.2.7): without tokens, a server on "
        "loopback is called by the names of this machine only"
    ]


async def test_full_server_is_one_line(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    error = Unavailable("too many", RejectReason.TOO_MANY)
    (line,) = await lines(hub, caplog, error, {}, {}, {})
    assert line.startswith("connection limit reached: 10 clients are connected, ")


async def test_full_address_is_named_once(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """An IPv6 network is one address."""
    hub.stats.addresses.limit = 5
    error = TooManyRequests("too many", RejectReason.TOO_MANY_PER_ADDRESS)
    addresses = ["2001:db8::1", "2001:db8::2", "198.51.100.7", "198.51.100.7"]
    sent = [{"X-Forwarded-For": each} for each in addresses]
    assert await lines(hub, caplog, error, *sent) == [
        "rejected GET /ws from 2001:db8::1 with 429: 5 clients are connected from 2001:db8::/64 "
        "(AIONOTIFY_MAX_CONNECTIONS_PER_ADDRESS)",
        "rejected GET /ws from 198.51.100.7 with 429: 5 clients are connected from 198.51.100.7 "
        "(AIONOTIFY_MAX_CONNECTIONS_PER_ADDRESS)",
    ]


async def test_other_reasons_are_told(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """A reason that is added later is reported without a change here."""
    error = Unavailable("The server is stopping.", RejectReason.STOPPING)
    assert await lines(hub, caplog, error, {}) == [
        "rejected GET /ws from 192.0.2.7: The server is stopping."
    ]
