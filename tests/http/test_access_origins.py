"""Origins and host names over HTTP: CORS, preflights, DNS rebinding, proxies, mounting."""

import asyncio

import pytest
from aiohttp import web

from aionotify import Settings, create_app
from aionotify.net import parse_origin
from tests.support.access import ADMIN, ALLOWED, FOREIGN, NO_MEMCACHED, USER, Serve, ask, start

ORIGINS = """
accepted | Origin                  | Host
yes      | http://localhost:3000   | localhost:8000
yes      | http://localhost:3000   | 127.0.0.1:8000
yes      | http://127.0.0.1        | [::1]:8000
yes      | https://[::1]:5173      | app.localhost
yes      | http://notify.example   | notify.example
yes      | https://notify.example  | notify.example
yes      | HTTPS://Notify.Example  | notify.EXAMPLE:443
yes      | http://notify.example:80| notify.example
yes      | http://notify.example:81| notify.example:81
yes      | https://app.example     | notify.example
yes      | https://app.example:443 | notify.example
no       | http://app.example      | notify.example
no       | https://app.example:444 | notify.example
no       | https://x.app.example   | notify.example
no       | http://notify.example:81| notify.example
no       | http://notify.example   | notify.example:81
no       | http://localhost:3000   | notify.example
no       | http://localhost.evil   | localhost:8000
no       | http://127.0.0.1.evil   | localhost:8000
no       | http://evil.example     | localhost:8000
no       | null                    | localhost:8000
yes      | https://app.example/    | notify.example
no       | https://app.example//   | notify.example
no       | file://                 | notify.example
no       |                         | notify.example
no       | https://a@app.example   | notify.example
no       | https://app.example, https://app.example | notify.example
no       | app.example             | notify.example
no       | http://                 | notify.example
no       | https://\u212aapp.example | \u212aapp.example
"""

HOSTS = """
accepted | Host
yes      | localhost
yes      | localhost:8000
yes      | LOCALHOST.:8000
yes      | my.app.localhost:8000
yes      | 127.0.0.1:8000
yes      | 127.8.9.10
yes      | [::1]:8000
no       | evil.example
no       | evil.example:8000
no       | localhost.evil.example
no       | notlocalhost
no       | 127.0.0.1.evil.example
no       | 10.0.0.1:8000
no       | [::2]:8000
no       | 0.0.0.0:8000
no       | localhost:8000:evil
"""
REBINDING = [tuple(map(str.strip, line.split("|"))) for line in HOSTS.splitlines()[2:]]


async def test_origins_are_allowed_by_table(aiohttp_server: Serve) -> None:
    allowed = (parse_origin("https://app.example"),)
    port = await start(aiohttp_server, Settings(host="0.0.0.0", allowed_origins=allowed))
    for line in ORIGINS.splitlines()[2:]:
        accepted, origin, host = (part.strip() for part in line.split("|"))
        reply = await ask(port, "GET", "/health", {"Origin": origin, "Host": host})
        assert reply.status == {"yes": 200, "no": 403}[accepted], line


@pytest.mark.parametrize(
    "origin", ["null", "file://", "https://anywhere.example", "capacitor://app"]
)
async def test_wildcard_allows_every_origin(aiohttp_server: Serve, origin: str) -> None:
    port = await start(aiohttp_server, Settings(allowed_origins=("*",)))
    for target in ("/health", "/events", "/nowhere"):
        reply = await ask(port, "GET", target, {"Origin": origin})
        assert reply.status == (404 if target == "/nowhere" else 200)
        assert reply.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in reply.headers


async def test_wildcard_rejects_malformed_origin(aiohttp_server: Serve) -> None:
    port = await start(aiohttp_server, Settings(allowed_origins=("*",)))
    for origin in ("\ud800".encode(errors="surrogatepass").decode("latin-1"), "é", "x"):
        assert (await ask(port, "GET", "/events", {"Origin": origin})).status == 403
    reply = await ask(port, "GET", "/events", {"Origin": ""})
    assert (reply.status, "access-control-allow-origin" in reply.headers) == (200, False)


async def test_preflight_lists_methods_and_headers(aiohttp_server: Serve) -> None:
    settings = Settings(admin_tokens=(ADMIN,), allowed_origins=(parse_origin(ALLOWED),))
    port = await start(aiohttp_server, settings)
    asked = {"Origin": ALLOWED, "Access-Control-Request-Method": "POST"}
    reply = await ask(port, "OPTIONS", "/notifications", asked)
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == ALLOWED
    assert reply.headers["access-control-allow-credentials"] == "true"
    assert reply.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    assert reply.headers["access-control-allow-headers"] == (
        "Authorization, Content-Type, Last-Event-ID"
    )
    assert reply.headers["vary"] == "Origin"
    reply = await ask(port, "OPTIONS", "/events", asked)
    assert (reply.status, reply.headers["access-control-allow-methods"]) == (204, "GET, HEAD")
    assert (await ask(port, "OPTIONS", "/nowhere", asked)).status == 404
    assert (await ask(port, "OPTIONS", "/notifications", {"Origin": ALLOWED})).status == 405
    reply = await ask(port, "OPTIONS", "/notifications", {**asked, "Origin": FOREIGN})
    assert (reply.status, "access-control-allow-origin" in reply.headers) == (403, False)
    del asked["Origin"]
    reply = await ask(port, "OPTIONS", "/notifications", asked)
    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD, POST"


async def test_errors_have_cors_headers(aiohttp_server: Serve) -> None:
    settings = Settings(user_tokens=(USER,), allowed_origins=(parse_origin(ALLOWED),))
    port = await start(aiohttp_server, settings)
    for target, status in {"/messages": 401, "/nowhere": 404, "/messages/": 307}.items():
        reply = await ask(port, "GET", target, {"Origin": ALLOWED})
        assert reply.status == status
        assert reply.headers["access-control-allow-origin"] == ALLOWED


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.0.0.2,localhost"])
async def test_dns_rebinding_is_rejected(aiohttp_server: Serve, host: str) -> None:
    """A foreign name that resolves to a loopback address gets 403, with and without `Origin`."""
    port = await start(aiohttp_server, Settings(host=host))
    for accepted, name in REBINDING:
        for target in ("/", "/ws?client=admin"):
            page = {"Host": name, "Origin": f"http://{name}"}
            for headers in (page, {"Host": name}):
                reply = await ask(port, "GET", target, headers)
                assert (reply.status != 403) == (accepted == "yes"), (name, target)
        if accepted == "no":
            assert "localhost" in reply.detail
            assert "AIONOTIFY_ADMIN_TOKEN" in reply.detail


@pytest.mark.parametrize(
    "settings",
    [
        Settings(host="0.0.0.0"),
        Settings(host="localhost,10.0.0.1"),
        Settings(admin_tokens=(ADMIN,)),
        Settings(user_tokens=(USER,)),
        Settings(trusted_proxies=1),
    ],
)
async def test_any_host_name_is_accepted_beyond_loopback(
    aiohttp_server: Serve, settings: Settings
) -> None:
    """The check of `Host` is only for a server on loopback without tokens and proxies."""
    port = await start(aiohttp_server, settings)
    assert (await ask(port, "GET", "/", {"Host": "notify.example"})).status == 200


async def test_request_without_host_is_accepted(aiohttp_server: Serve) -> None:
    """Browsers always send `Host`, so a request without it cannot be DNS rebinding."""
    port = await start(aiohttp_server, Settings())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert b" 200 OK\r\n" in await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_mounted_application_keeps_tokens_and_origins(aiohttp_server: Serve) -> None:
    """The outer application decides where it listens, so only the check of `Host` is left out."""
    root = web.Application()
    root.add_subapp("/open/", create_app(Settings(memcached_hosts=NO_MEMCACHED)))
    closed = Settings(memcached_hosts=NO_MEMCACHED, admin_tokens=(ADMIN,), user_tokens=(USER,))
    root.add_subapp("/closed/", create_app(closed))
    port = (await aiohttp_server(root)).port
    assert port is not None
    name = {"Host": "notify.example"}
    assert (await ask(port, "GET", "/open/messages", name)).status == 200
    assert (await ask(port, "GET", "/closed/", name)).status == 200
    assert (await ask(port, "GET", "/closed/health", name)).status == 200
    assert (await ask(port, "GET", "/closed/messages", name)).status == 401
    assert (await ask(port, "POST", "/closed/notifications", name)).status == 401
    assert (await ask(port, "GET", "/open/", {**name, "Origin": FOREIGN})).status == 403


async def test_forwarded_host_is_own_origin(aiohttp_server: Serve) -> None:
    """Behind a trusted proxy, `X-Forwarded-Host` says which origin is the server's own."""
    headers = {
        "Host": "127.0.0.1:8000",
        "X-Forwarded-Host": "made.up, notify.example",
        "Origin": "https://notify.example",
    }
    trusting = await start(aiohttp_server, Settings(host="0.0.0.0", trusted_proxies=1))
    assert (await ask(trusting, "GET", "/health", headers)).status == 200
    forged = {**headers, "Origin": "https://made.up"}
    assert (await ask(trusting, "GET", "/health", forged)).status == 403
    not_trusting = await start(aiohttp_server, Settings(host="0.0.0.0"))
    assert (await ask(not_trusting, "GET", "/health", headers)).status == 403
