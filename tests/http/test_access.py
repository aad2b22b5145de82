"""The access matrix: every route, with every token, from pages of every kind of origin."""

import logging
from dataclasses import replace

import pytest

from aionotify import Settings
from aionotify.net import parse_origin
from tests.support.access import (
    ADMIN,
    ALLOWED,
    FOREIGN,
    OLD_ADMIN,
    USER,
    WRONG,
    Reply,
    Serve,
    ask,
    start,
    with_token,
)

TOKENS = {"none": None, "wrong": WRONG, "user": USER, "admin": ADMIN}

SERVERS = {
    "open": Settings(),
    "admin": Settings(admin_tokens=(OLD_ADMIN, ADMIN)),
    "user": Settings(user_tokens=(USER,)),
    "both": Settings(admin_tokens=(ADMIN, OLD_ADMIN), user_tokens=("another-user-0123", USER)),
}

CELLS = """
               | no Origin           | own page            | allowed page        | foreign page
server way in  | none wrong user admn| none wrong user admn| none wrong user admn| none wrong user admn
open   /       | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
open   /health | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
open   /client | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
open   messages| 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
open   poll    | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
open   events  | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
open   post    | 201  201   201  201 | 201  201   201  201 | 201  201   201  201 | 403  403   403  403
open   ws-user | 101  101   101  101 | 101  101   101  101 | 101  101   101  101 | 403  403   403  403
open   ws-admin| 101  101   101  101 | 101  101   101  101 | 101  101   101  101 | 403  403   403  403
admin  /       | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  /health | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  /client | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  messages| 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  poll    | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  events  | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  post    | 401  401   401  201 | 401  401   401  201 | 401  401   401  201 | 403  403   403  403
admin  ws-user | 101  101   101  101 | 101  101   101  101 | 101  101   101  101 | 403  403   403  403
admin  ws-admin| 401  401   401  101 | 401  401   401  101 | 401  401   401  101 | 403  403   403  403
user   /       | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
user   /health | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
user   /client | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
user   messages| 401  401   200  401 | 401  401   200  401 | 401  401   200  401 | 403  403   403  403
user   poll    | 401  401   200  401 | 401  401   200  401 | 401  401   200  401 | 403  403   403  403
user   events  | 401  401   200  401 | 401  401   200  401 | 401  401   200  401 | 403  403   403  403
user   post    | 201  201   201  201 | 201  201   201  201 | 201  201   201  201 | 403  403   403  403
user   ws-user | 401  401   101  401 | 401  401   101  401 | 401  401   101  401 | 403  403   403  403
user   ws-admin| 401  401   101  401 | 401  401   101  401 | 401  401   101  401 | 403  403   403  403
both   /       | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
both   /health | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
both   /client | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
both   messages| 401  401   200  200 | 401  401   200  200 | 401  401   200  200 | 403  403   403  403
both   poll    | 401  401   200  200 | 401  401   200  200 | 401  401   200  200 | 403  403   403  403
both   events  | 401  401   200  200 | 401  401   200  200 | 401  401   200  200 | 403  403   403  403
both   post    | 401  401   401  201 | 401  401   401  201 | 401  401   401  201 | 403  403   403  403
both   ws-user | 401  401   101  101 | 401  401   101  101 | 401  401   101  101 | 403  403   403  403
both   ws-admin| 401  401   401  101 | 401  401   401  101 | 401  401   401  101 | 403  403   403  403
"""  # noqa: E501
"""The expected status of each cell. The server `user` has no admin token: there, the token under
`admn` is just another wrong one."""

WAYS = {
    "/": ("GET", "/"),
    "/health": ("GET", "/health"),
    "/client": ("GET", "/client.js"),
    "messages": ("GET", "/messages"),
    "poll": ("GET", "/notifications"),
    "events": ("GET", "/events"),
    "post": ("POST", "/notifications"),
    "ws-user": ("GET", "/ws"),
    "ws-admin": ("GET", "/ws?client=admin"),
}


def rows(server: str) -> dict[str, list[list[int]]]:
    """Return the cells of one server: for each way in, four origins of four tokens."""
    table = {}
    for line in CELLS.splitlines()[3:]:
        name, *groups = line.split("|")
        if name.split()[0] == server:
            table[name.split()[1]] = [[int(cell) for cell in group.split()] for group in groups]
    return table


KNOWN = {"open": [], "admin": ["admin"], "user": ["user"], "both": ["user", "admin"]}
"""The tokens that each server knows; any other is a bad one."""


@pytest.mark.parametrize("place", ["header", "query", "subprotocol", "cookie"])
@pytest.mark.parametrize("server", SERVERS)
async def test_matrix(
    aiohttp_server: Serve, server: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = replace(SERVERS[server], allowed_origins=(parse_origin(ALLOWED),))
    port = await start(aiohttp_server, settings)
    table = rows(server)
    assert list(table) == list(WAYS)
    origins = [None, f"http://127.0.0.1:{port}", ALLOWED, FOREIGN]
    for way, groups in table.items():
        method, path = WAYS[way]
        if place == "subprotocol" and not way.startswith("ws"):
            continue
        for origin, cells in zip(origins, groups, strict=True):
            for token, expected in zip(TOKENS, cells, strict=True):
                target, headers = with_token(place, TOKENS[token], path)
                headers |= {} if origin is None else {"Origin": origin}
                reply = await ask(port, method, target, headers)
                assert reply.status == expected, (way, origin, token)
                check(reply, origin, place == "subprotocol" and token != "none")
                is_bad = token != "none" and token not in KNOWN[server]
                if reply.status == 401:
                    assert reply.headers["www-authenticate"] == (
                        'Bearer error="invalid_token"' if is_bad else "Bearer"
                    )
                    assert ("invalid or has expired" in reply.detail) == is_bad
    ours = "\n".join(
        record.getMessage() for record in caplog.records if record.name != "aiohttp.access"
    )  # the access log is the test server's; `serve` runs without one
    assert not any(token in ours for token in (ADMIN, OLD_ADMIN, USER, WRONG))


def check(reply: Reply, origin: str | None, offers_protocol: bool) -> None:
    """Check the headers and the sentence that belong to a status, and that no token is shown."""
    shown = repr(reply)
    assert not any(token in shown for token in (ADMIN, OLD_ADMIN, USER, WRONG))
    assert ("www-authenticate" in reply.headers) == (reply.status == 401)
    if reply.status == 401:
        assert "Authorization: Bearer <token>" in reply.detail
    if reply.status == 403:
        assert "AIONOTIFY_ALLOWED_ORIGINS" in reply.detail
    if reply.status == 101:
        protocol = reply.headers.get("sec-websocket-protocol")
        assert protocol == ("aionotify" if offers_protocol else None)
    else:
        shared = origin if origin != FOREIGN else None
        assert reply.headers.get("access-control-allow-origin") == shared
        varies = ["Accept-Encoding"] if "etag" in reply.headers else []
        varies += ["Origin"] if shared else []
        assert reply.headers.get("vary", "") == ", ".join(varies)
        credentials = reply.headers.get("access-control-allow-credentials")
        assert credentials == ("true" if shared else None)
