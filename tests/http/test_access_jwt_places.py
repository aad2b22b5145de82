"""JWTs: leeway, several tokens in one request, cookies and foreign pages, keys that are missing."""

import time
from dataclasses import replace

import pytest

from aionotify import Settings
from aionotify.net import parse_origin
from tests.support.access import ADMIN, ALLOWED, USER, WRONG, Serve, ask, start, with_token
from tests.support.jwts import OLD_SECRET, SECRET, token

SETTINGS = Settings(
    admin_tokens=(ADMIN,),
    user_tokens=(USER,),
    jwt_secrets=(SECRET, OLD_SECRET),
    allowed_origins=(parse_origin(ALLOWED),),
)


async def test_leeway_serves_requests_and_opens_no_connection(aiohttp_server: Serve) -> None:
    """A connection would have to be closed at once, and the client would come back."""
    port = await start(aiohttp_server, SETTINGS)
    _, headers = with_token("header", token(exp=int(time.time()) - 2), "/")
    assert (await ask(port, "GET", "/notifications", headers)).status == 200
    assert (await ask(port, "POST", "/notifications", headers)).status == 201
    for path in ("/events", "/ws"):
        reply = await ask(port, "GET", path, headers)
        assert (reply.status, reply.headers["www-authenticate"]) == (
            401,
            'Bearer error="invalid_token"',
        )


async def test_several_tokens_are_not_united(aiohttp_server: Serve) -> None:
    """The first valid one decides: header, query, subprotocol, cookie."""
    port = await start(aiohttp_server, SETTINGS)
    one, two = token("subscribe:one"), token("subscribe:two")
    _, header = with_token("header", one, "/")
    _, cookie = with_token("cookie", two, "/")
    for topic, headers, status in (
        ("one", {**header, **cookie}, 200),
        ("two", {**header, **cookie}, 403),
        ("two", cookie, 200),
        ("two", {**with_token("header", WRONG, "/")[1], **cookie}, 200),
    ):
        reply = await ask(port, "GET", f"/messages?topic={topic}", headers)
        assert reply.status == status


async def test_cookie_answers_are_not_cached(aiohttp_server: Serve) -> None:
    port = await start(aiohttp_server, SETTINGS)
    _, cookie = with_token("cookie", token(), "/")
    reply = await ask(port, "GET", "/messages", cookie)
    assert reply.headers["cache-control"] == "no-store"
    _, header = with_token("header", token(), "/")
    reply = await ask(port, "GET", "/messages", {**header, "Cookie": "theme=dark"})
    assert "cache-control" not in reply.headers


async def test_cookie_is_worth_nothing_to_other_pages(aiohttp_server: Serve) -> None:
    """`*` lets every page in, but no page may use the rights of the user who opened it."""
    settings = replace(SETTINGS, allowed_origins=("*", "null", parse_origin(ALLOWED)))
    port = await start(aiohttp_server, settings)
    own = f"http://127.0.0.1:{port}"
    _, cookie = with_token("cookie", token(), "/")
    ways = [("GET", "/ws", 101), ("POST", "/notifications", 201), ("GET", "/messages", 200)]
    for origin, trusted in (
        (ALLOWED, True),
        (own, True),
        ("https://evil.example", False),
        ("null", False),
        ("file://", False),
    ):
        for method, path, status in ways:
            reply = await ask(port, method, path, {**cookie, "Origin": origin})
            assert reply.status == (status if trusted else 401), (origin, path)
            if path != "/ws":
                credentials = reply.headers.get("access-control-allow-credentials")
                assert credentials == ("true" if trusted else None)
        _, header = with_token("header", token(), "/")
        reply = await ask(port, "GET", "/messages", {**header, "Origin": origin})
        assert reply.status == 200


async def test_keys_that_cannot_be_fetched_are_503(
    aiohttp_server: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """But only for a JWT: static tokens and open pages need no keys."""
    settings = Settings(
        admin_tokens=(ADMIN,),
        jwt_jwks="http://127.0.0.1:1/jwks.json",
        jwt_issuer="https://id.example",
        jwt_audience="notify",
    )
    port = await start(aiohttp_server, settings)
    for text, status in ((token(), 503), (ADMIN, 200), (None, 401), (WRONG, 401)):
        _, headers = with_token("header", text, "/")
        reply = await ask(port, "GET", "/messages", headers)
        assert reply.status == status
        if status == 503:
            assert reply.headers["retry-after"] == "5"
    assert caplog.text.count("cannot fetch the keys for tokens") == 1


async def test_rejections_are_counted_by_cause(aiohttp_server: Serve) -> None:
    port = await start(aiohttp_server, SETTINGS)
    for text in (None, WRONG, token("subscribe:news")):
        _, headers = with_token("header", text, "/")
        await ask(port, "GET", "/messages", headers)
    _, headers = with_token("header", ADMIN, "/")
    metrics = (await ask(port, "GET", "/metrics", headers)).body
    assert 'aionotify_refused_total{reason="token"} 2.0' in metrics
    assert 'aionotify_refused_total{reason="scope"} 1.0' in metrics
