"""The access matrix of JWTs: every route, with every kind of token, in every place."""

import logging
import time
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from aionotify import Settings, create_app
from aionotify.http.query import topics_to_read
from aionotify.keys import ACCESS
from aionotify.net import parse_origin
from aionotify.settings.jwt import PublicKey
from tests.support.access import (
    ADMIN,
    ALLOWED,
    NO_MEMCACHED,
    USER,
    WRONG,
    Serve,
    ask,
    start,
    with_token,
)
from tests.support.jwts import KEYS, OLD_SECRET, RSA_KEY, SECRET, public_pem, signed, token

SETTINGS = Settings(
    admin_tokens=(ADMIN,),
    user_tokens=(USER,),
    jwt_secrets=(SECRET, OLD_SECRET),
    allowed_origins=(parse_origin(ALLOWED),),
)

CELLS = """
way                | none bad | adm user| sub  sub* sub-a pub  pub* none both
/                  | 200  200 | 200 200 | 200  200  200   200  200  200  200
/health            | 200  200 | 200 200 | 200  200  200   200  200  200  200
/ui                | 200  200 | 200 200 | 200  200  200   200  200  200  200
/nowhere           | 404  404 | 404 404 | 404  404  404   404  404  404  404
/metrics           | 401  401 | 200 200 | 403  403  200   403  403  403  200
/messages          | 401  401 | 200 200 | 403  403  200   403  403  403  200
/messages news     | 401  401 | 200 200 | 200  200  200   403  403  403  200
/notifications     | 401  401 | 200 200 | 403  403  200   403  403  403  200
/notifications news| 401  401 | 200 200 | 200  200  200   403  403  403  200
several news,main  | 401  401 | 200 200 | 403  403  200   403  403  403  200
several newt,news  | 401  401 | 200 200 | 403  200  200   403  403  403  200
/notifications bad | 401  401 | 400 400 | 400  400  400   400  400  400  400
/events            | 401  401 | 200 200 | 403  403  200   403  403  403  200
/events news       | 401  401 | 200 200 | 200  200  200   403  403  403  200
HEAD /events news  | 401  401 | 200 200 | 200  200  200   403  403  403  200
/ws                | 401  401 | 101 101 | 403  403  101   403  403  403  101
/ws news           | 401  401 | 101 101 | 101  101  101   403  403  403  101
/ws admin news     | 401  401 | 101 401 | 403  403  403   403  403  403  101
POST main          | 401  401 | 201 401 | 403  403  403   403  403  403  201
POST news          | 401  401 | 201 401 | 403  403  403   201  201  403  201
POST bad           | 401  401 | 400 401 | 400  400  400   400  400  400  400
PUT later          | 401  401 | 200 401 | 403  403  403   403  403  403  200
GET later          | 401  401 | 200 200 | 403  403  200   403  403  403  200
"""
"""The expected status of each cell."""

WAYS = {
    "/": ("GET", "/"),
    "/health": ("GET", "/health"),
    "/ui": ("GET", "/ui"),
    "/nowhere": ("GET", "/nowhere"),
    "/metrics": ("GET", "/metrics"),
    "/messages": ("GET", "/messages"),
    "/messages news": ("GET", "/messages?topic=news"),
    "/notifications": ("GET", "/notifications"),
    "/notifications news": ("GET", "/notifications?topic=news"),
    "several news,main": ("GET", "/several?topic=news,main"),
    "several newt,news": ("GET", "/several?topic=newt,news"),
    "/notifications bad": ("GET", "/notifications?topic=a%20b"),
    "/events": ("GET", "/events"),
    "/events news": ("GET", "/events?topic=news"),
    "HEAD /events news": ("HEAD", "/events?topic=news"),
    "/ws": ("GET", "/ws"),
    "/ws news": ("GET", "/ws?topic=news"),
    "/ws admin news": ("GET", "/ws?topic=news&client=admin"),
    "POST main": ("POST", "/notifications"),
    "POST news": ("POST", "/notifications?topic=news"),
    "POST bad": ("POST", "/notifications?topic="),
    "PUT later": ("PUT", "/later"),
    "GET later": ("GET", "/later"),
}


def tokens() -> dict[str, str | None]:
    """Return a fresh token for each column."""
    return {
        "none": None,
        "bad": token(key="x" * 32),
        "adm": ADMIN,
        "user": USER,
        "sub": token("subscribe:news"),
        "sub*": token("subscribe:ne*", key=OLD_SECRET),
        "sub-a": token("subscribe:*"),
        "pub": token("publish:news"),
        "pub*": token("openid publish:new*"),
        "empty": token("openid"),
        "both": token("subscribe:* publish:*"),
    }


async def start_with_later(aiohttp_server: Serve) -> int:
    """Start the application with a route that is not registered, and one for several topics."""
    app = create_app(replace(SETTINGS, memcached_hosts=NO_MEMCACHED, shutdown_grace=1))

    async def respond(request: web.Request) -> web.Response:
        return web.Response()

    app.router.add_get("/later", respond)
    app.router.add_put("/later", respond)
    app[ACCESS].allow_subscribers(app.router.add_get("/several", respond), topics_to_read)
    port = (await aiohttp_server(app)).port
    assert port is not None
    return port


@pytest.mark.parametrize("place", ["header", "query", "cookie", "subprotocol"])
async def test_matrix(aiohttp_server: Serve, place: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    port = await start_with_later(aiohttp_server)
    columns = tokens()
    lines = CELLS.splitlines()[2:]
    assert [line.split("|")[0].strip() for line in lines] == list(WAYS)
    for line in lines:
        name, *groups = line.split("|")
        method, path = WAYS[name.strip()]
        cells = [int(cell) for group in groups for cell in group.split()]
        for (column, text), expected in zip(columns.items(), cells, strict=True):
            if place == "subprotocol" and not path.startswith("/ws"):
                continue
            target, headers = with_token(place, text, path)
            reply = await ask(port, method, target, headers)
            assert reply.status == expected, (name, column)
            challenge = reply.headers.get("www-authenticate")
            if expected == 401:
                bad = 'Bearer error="invalid_token"' if column == "bad" else "Bearer"
                assert challenge == bad, (name, column)
            elif expected == 403:
                assert challenge is not None
                assert challenge.startswith('Bearer error="insufficient_scope", scope="')
            else:
                assert challenge is None
            assert not any(each in repr(reply) for each in columns.values() if each)
    ours = [each.getMessage() for each in caplog.records if each.name != "aiohttp.access"]
    assert not any(each in line for each in columns.values() if each for line in ours)


@pytest.mark.parametrize(
    ("scope", "way", "missing"),
    [
        ("subscribe:news", ("GET", "/events"), "subscribe:main"),
        ("subscribe:b", ("GET", "/notifications?topic=a,b,c"), "subscribe:a subscribe:c"),
        ("subscribe:*", ("POST", "/notifications?topic=news"), "publish:news"),
        ("subscribe:*", ("GET", "/ws?client=admin&topic=news"), "publish:news"),
        ("publish:*", ("GET", "/metrics"), "subscribe:*"),
    ],
)
async def test_missing_scope_is_named(
    aiohttp_server: Serve, scope: str, way: tuple[str, str], missing: str
) -> None:
    port = await start(aiohttp_server, SETTINGS)
    target, headers = with_token("header", token(scope), way[1])
    reply = await ask(port, way[0], target, headers)
    assert reply.status == 403
    assert reply.headers["www-authenticate"] == (
        f'Bearer error="insufficient_scope", scope="{missing}"'
    )
    assert reply.detail == f"The token lacks the scope '{missing}'."


def bad_tokens() -> dict[str, str]:
    """Return tokens that would allow everything if they were valid."""
    now = int(time.time())
    good = token()
    return {
        "expired": token(exp=now - 11),
        "not yet valid": token(nbf=now + 60),
        "issued in the future": token(iat=now + 60),
        "no exp": token(exp=None),
        "exp as text": token(exp=str(now + 60)),
        "scope as list": token(["publish:*", "subscribe:*"]),
        "none": token(key=None, algorithm="none"),
        "none without dot": token(key=None, algorithm="none").rstrip("."),
        "RS256": token(key=RSA_KEY, algorithm="RS256"),
        "another secret": token(key="x" * 32),
        "unsigned": good.rpartition(".")[0] + ".",
        "cut off": good[:-1],
        "critical extension": token(headers={"crit": ["exp"]}),
        "nested": signed(good.encode(), SECRET, {"alg": "HS256", "cty": "JWT"}),
        "garbage": "garbage",
        "static": WRONG,
    }


CLAIMED = replace(SETTINGS, jwt_issuer="https://id.example", jwt_audience="notify")


@pytest.mark.parametrize("name", bad_tokens())
async def test_bad_token_gets_the_one_sentence(
    aiohttp_server: Serve, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every bad token is told apart in the log, and nowhere else."""
    caplog.set_level(logging.INFO)
    port = await start(aiohttp_server, SETTINGS)
    text = bad_tokens()[name]
    for method, path in (("GET", "/messages"), ("GET", "/ws"), ("POST", "/notifications")):
        target, headers = with_token("header", text, path)
        reply = await ask(port, method, target, headers)
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert reply.detail.startswith("The token is invalid or has expired: send it as ")
        assert text not in reply.body
    (line,) = [each for each in caplog.messages if each.startswith("rejected GET /messages")]
    assert ": no valid token: it" in line
    assert text not in caplog.text


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, 200),
        ({"aud": "other"}, 401),
        ({"aud": None}, 401),
        ({"aud": ["other", "notify"]}, 200),
        ({"iss": "https://evil.example"}, 401),
        ({"iss": None}, 401),
    ],
)
async def test_issuer_and_audience_are_compared(
    aiohttp_server: Serve, changed: dict[str, Any], status: int
) -> None:
    port = await start(aiohttp_server, CLAIMED)
    text = token(**{"iss": "https://id.example", "aud": "notify", **changed})
    _, headers = with_token("header", text, "/")
    assert (await ask(port, "GET", "/messages", headers)).status == status


@pytest.mark.parametrize("algorithm", KEYS)
async def test_public_key_is_no_secret(aiohttp_server: Serve, algorithm: str) -> None:
    """Key confusion over HTTP, with every type of key."""
    pem = public_pem(KEYS[algorithm])
    port = await start(aiohttp_server, Settings(jwt_public_key=PublicKey(algorithm, pem)))
    for text, status in (
        (token(key=KEYS[algorithm], algorithm=algorithm), 200),
        (token(key=pem, algorithm="HS256"), 401),
        (token(key=None, algorithm="none"), 401),
    ):
        _, headers = with_token("header", text, "/")
        assert (await ask(port, "GET", "/messages", headers)).status == status
