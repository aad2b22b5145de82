"""Access control without a server: which settings close what."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from aionotify import Settings
from aionotify.access import Access
from aionotify.errors import BadToken, Forbidden, Unauthorized
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


async def authenticated(access: Access, token: str | None) -> web.Request:
    """Return a request with `token`, after `access` has looked at it."""
    request = request_with(token)
    await access.authenticate(request)
    return request


async def may_publish(access: Access, token: str | None) -> bool:
    """Return whether a request with `token` passes `require_publisher`."""
    try:
        access.require_publisher(await authenticated(access, token), ["news"])
    except Unauthorized:
        return False
    return True


async def may_subscribe(access: Access, token: str | None) -> bool:
    """Return whether a request with `token` passes `require_subscriber`."""
    try:
        access.require_subscriber(await authenticated(access, token), ["news"])
    except Unauthorized:
        return False
    return True


def test_publish_is_open_without_admin_tokens() -> None:
    assert OPEN.publish_is_open
    assert USERS.publish_is_open
    assert not ADMINS.publish_is_open
    assert not BOTH.publish_is_open


async def test_publisher_needs_an_admin_token() -> None:
    tokens = (None, WRONG, USER, ADMIN, OLD_ADMIN)
    assert [await may_publish(OPEN, token) for token in tokens] == [True] * 5
    assert [await may_publish(USERS, token) for token in tokens] == [True] * 5
    assert [await may_publish(ADMINS, token) for token in tokens] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert [await may_publish(BOTH, token) for token in tokens] == [
        False,
        False,
        False,
        True,
        False,
    ]


async def test_subscriber_needs_any_token() -> None:
    tokens = (None, WRONG, USER, ADMIN)
    assert [await may_subscribe(OPEN, token) for token in tokens] == [True] * 4
    assert [await may_subscribe(ADMINS, token) for token in tokens] == [True] * 4
    assert [await may_subscribe(USERS, token) for token in tokens] == [False, False, True, False]
    assert [await may_subscribe(BOTH, token) for token in tokens] == [False, False, True, True]


async def test_rejection_names_the_reason_and_the_remedy() -> None:
    with pytest.raises(Unauthorized, match="admin token is required to publish: ") as rejected:
        BOTH.require_publisher(await authenticated(BOTH, USER), ["news"])
    assert rejected.value.reason is RejectReason.TOKEN
    assert USER not in str(rejected.value)
    with pytest.raises(Unauthorized, match="required to subscribe and read: ") as rejected:
        BOTH.require_subscriber(await authenticated(BOTH, None), ["news"])
    assert rejected.value.reason is RejectReason.TOKEN
    with pytest.raises(BadToken, match="invalid or has expired: ") as bad:
        BOTH.require_subscriber(await authenticated(BOTH, WRONG), ["news"])
    assert bad.value.cause == "no valid token"
    assert WRONG not in str(bad.value)


def test_unauthenticated_request_is_refused() -> None:
    """A bug in the middleware must not open anything."""
    for require in (BOTH.require_publisher, BOTH.require_subscriber):
        with pytest.raises(KeyError):
            require(request_with(ADMIN), ["news"])


def test_access_keeps_no_token() -> None:
    kept = repr([vars(BOTH), vars(BOTH.authenticator)])
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
    assert allowed == {
        "Access-Control-Allow-Origin": ALLOWED,
        "Vary": "Origin",
        "Access-Control-Allow-Credentials": "true",
    }
    assert access.cors_headers(request_with(None, Origin=FOREIGN)) == {}
    assert access.cors_headers(request_with(None)) == {}


@pytest.mark.parametrize("origin", [FOREIGN, "null", ""])
async def test_cookie_counts_for_named_origins_only(origin: str) -> None:
    """`*` lets any page in, but not with the rights of the user who opened it."""
    settings = Settings(
        user_tokens=(USER,), allowed_origins=("*", "null", parse_origin(ALLOWED)), host="::"
    )
    access = Access(settings)
    for sent, status in ((None, 200), (ALLOWED, 200), (origin, 401)):
        headers = {"Cookie": f"aionotify_token={USER}", "Host": "notify.example"}
        request = make_mocked_request(
            "GET", "/", headers=headers if sent is None else {**headers, "Origin": sent}
        )
        await access.authenticate(request)
        if status == 200:
            access.require_subscriber(request, ["news"])
        else:
            assert "Access-Control-Allow-Credentials" not in access.cors_headers(request)
            with pytest.raises(Unauthorized):
                access.require_subscriber(request, ["news"])
