"""Access control without a server: which settings close what."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from aionotify import Settings
from aionotify.access import Access
from aionotify.errors import Forbidden, Unauthorized
from aionotify.net import parse_origin
from aionotify.stats import RejectReason
from tests.support.access import ADMIN, ALLOWED, FOREIGN, OLD_ADMIN, USER, WRONG, with_token

OPEN = Access(Settings())
ADMINS = Access(Settings(admin_tokens=(OLD_ADMIN, ADMIN)))
USERS = Access(Settings(user_tokens=(USER,)))
BOTH = Access(Settings(admin_tokens=(ADMIN,), user_tokens=(USER,)))


def request_with(token: str | None, **headers: str) -> web.Request:
    """Return a request with `token` and `headers`."""
    _, carried = with_token("header", token, "/")
    return make_mocked_request("GET", "/", headers={"Host": "localhost", **headers, **carried})


def may_publish(access: Access, token: str | None) -> bool:
    """Return whether a request with `token` passes `require_publisher`."""
    try:
        access.require_publisher(request_with(token))
    except Unauthorized:
        return False
    return True


def may_subscribe(access: Access, token: str | None) -> bool:
    """Return whether a request with `token` passes `require_subscriber`."""
    try:
        access.require_subscriber(request_with(token))
    except Unauthorized:
        return False
    return True


def test_publish_is_open_without_admin_tokens() -> None:
    assert OPEN.publish_is_open
    assert USERS.publish_is_open
    assert not ADMINS.publish_is_open
    assert not BOTH.publish_is_open


def test_publisher_needs_an_admin_token() -> None:
    tokens = (None, WRONG, USER, ADMIN, OLD_ADMIN)
    assert [may_publish(OPEN, token) for token in tokens] == [True] * 5
    assert [may_publish(USERS, token) for token in tokens] == [True] * 5
    assert [may_publish(ADMINS, token) for token in tokens] == [False, False, False, True, True]
    assert [may_publish(BOTH, token) for token in tokens] == [False, False, False, True, False]


def test_subscriber_needs_any_token() -> None:
    tokens = (None, WRONG, USER, ADMIN)
    assert [may_subscribe(OPEN, token) for token in tokens] == [True] * 4
    assert [may_subscribe(ADMINS, token) for token in tokens] == [True] * 4
    assert [may_subscribe(USERS, token) for token in tokens] == [False, False, True, False]
    assert [may_subscribe(BOTH, token) for token in tokens] == [False, False, True, True]


def test_rejection_names_the_reason_and_the_remedy() -> None:
    with pytest.raises(Unauthorized, match="admin token is required to publish: ") as rejected:
        BOTH.require_publisher(request_with(USER))
    assert rejected.value.reason is RejectReason.TOKEN
    assert USER not in str(rejected.value)
    with pytest.raises(Unauthorized, match="required to subscribe and read: ") as rejected:
        BOTH.require_subscriber(request_with(WRONG))
    assert rejected.value.reason is RejectReason.TOKEN
    assert WRONG not in str(rejected.value)


def test_access_keeps_no_token() -> None:
    kept = repr(vars(BOTH))
    assert ADMIN not in kept
    assert USER not in kept


@pytest.mark.parametrize(("proxies", "address"), [(0, None), (1, "192.0.2.1"), (2, None)])
def test_client_address_counts_trusted_proxies(proxies: int, address: str | None) -> None:
    access = Access(Settings(trusted_proxies=proxies))
    request = request_with(None, **{"X-Forwarded-For": "192.0.2.1"})
    assert access.client_address(request) == address


async def test_foreign_origin_gets_the_commonest_remedy() -> None:
    """A proxy that passes its own `Host` looks just the same as a foreign page."""

    async def handler(request: web.Request) -> web.Response:
        raise AssertionError

    with pytest.raises(Forbidden) as rejected:
        await OPEN.authorize(request_with(None, Origin=FOREIGN), handler)
    assert "not allowed on the host 'localhost'" in str(rejected.value)
    assert "have the proxy pass Host or X-Forwarded-Host" in str(rejected.value)


def test_cors_headers_are_for_allowed_origins() -> None:
    access = Access(Settings(allowed_origins=(parse_origin(ALLOWED),)))
    allowed = access.cors_headers(request_with(None, Origin=ALLOWED))
    assert allowed == {"Access-Control-Allow-Origin": ALLOWED, "Vary": "Origin"}
    assert access.cors_headers(request_with(None, Origin=FOREIGN)) == {}
    assert access.cors_headers(request_with(None)) == {}
