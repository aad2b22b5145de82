"""The application on a port of its own: `/health` and `/metrics`, under the same rules."""

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify import Settings
from aionotify.app import create_app, create_metrics_app
from tests.support import alone
from tests.support.access import ADMIN, FOREIGN, USER, WRONG, ask
from tests.support.jwts import SECRET, token

Serve = Callable[[web.Application], Awaitable[TestServer]]
Ports = tuple[int, int]


async def serve_both(aiohttp_server: Serve, settings: Settings) -> Ports:
    """Serve the application and the one for a port of its own; return the ports."""
    app = create_app(settings)
    ports = [(await aiohttp_server(each)).port for each in (app, create_metrics_app(app))]
    assert ports[0]
    assert ports[1]
    return ports[0], ports[1]


def bearer(value: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {value}"}


async def test_both_ports_tell_of_the_same_process(aiohttp_server: Serve) -> None:
    main, own = await serve_both(aiohttp_server, alone())
    assert (await ask(main, "POST", "/notifications", {})).status == 201
    assert (await ask(own, "GET", "/health", {})) == (await ask(main, "GET", "/health", {}))
    found = await ask(own, "GET", "/metrics", {})
    assert "\naionotify_published_total 1.0\n" in found.body


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/ui"), ("GET", "/ws"), ("GET", "/events"), ("GET", "/messages")],
)
async def test_nothing_else_is_there(aiohttp_server: Serve, method: str, path: str) -> None:
    """A program that scrapes is not meant to publish."""
    _, own = await serve_both(aiohttp_server, alone())
    found = await ask(own, method, path, {})
    assert (found.status, found.detail) == (404, "Not Found")
    assert (await ask(own, "POST", "/notifications", {})).status == 404


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        (alone(user_tokens=(USER,)), {}, 401),
        (alone(user_tokens=(USER,)), bearer(WRONG), 401),
        (alone(user_tokens=(USER,)), bearer(USER), 200),
        (alone(admin_tokens=(ADMIN,)), {}, 200),
        (alone(jwt_secrets=(SECRET,)), {}, 401),
        (alone(jwt_secrets=(SECRET,)), bearer(token("subscribe:main", exp=1 << 33)), 403),
        (alone(jwt_secrets=(SECRET,)), bearer(token("subscribe:*", exp=1 << 33)), 200),
    ],
)
async def test_tokens_are_those_of_the_main_port(
    aiohttp_server: Serve, settings: Settings, headers: dict[str, str], status: int
) -> None:
    for port in await serve_both(aiohttp_server, settings):
        assert (await ask(port, "GET", "/metrics", headers)).status == status
        assert (await ask(port, "GET", "/health", headers)).status == 200


@pytest.mark.parametrize("headers", [{"Origin": FOREIGN}, {"Host": "evil.example"}])
async def test_foreign_pages_are_rejected(aiohttp_server: Serve, headers: dict[str, str]) -> None:
    for port in await serve_both(aiohttp_server, alone()):
        for path in ("/metrics", "/health"):
            assert (await ask(port, "GET", path, headers)).status == 403


async def test_rejections_are_counted_in_one_place(aiohttp_server: Serve) -> None:
    ports = await serve_both(aiohttp_server, alone(user_tokens=(USER,)))
    for port in ports:
        assert (await ask(port, "GET", "/metrics", {})).status == 401
    text = (await ask(ports[1], "GET", "/metrics", bearer(USER))).body
    assert 'aionotify_refused_total{reason="token"} 2.0' in text
