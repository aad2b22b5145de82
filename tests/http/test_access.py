"""Who may do what: every way in, with every token, from every page."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request
from websockets.asyncio.client import connect

from aionotify import Settings, create_app
from aionotify.access import Access
from aionotify.errors import SettingsError
from aionotify.net import Address, is_loopback, parse_origin
from aionotify.settings import read_settings
from tests.support import eventually, running_server

ADMIN, OLD_ADMIN, USER = "admin-0123456789", "retired-admin-0123", "user-0123456789a"
WRONG = "wrong-0123456789"
TOKENS = {"none": None, "wrong": WRONG, "user": USER, "admin": ADMIN}
ALLOWED, FOREIGN = "https://app.example", "https://evil.example"

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
open   messages| 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
open   poll    | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
open   events  | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
open   post    | 201  201   201  201 | 201  201   201  201 | 201  201   201  201 | 403  403   403  403
open   ws-user | 101  101   101  101 | 101  101   101  101 | 101  101   101  101 | 403  403   403  403
open   ws-admin| 101  101   101  101 | 101  101   101  101 | 101  101   101  101 | 403  403   403  403
admin  /       | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  /health | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  messages| 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  poll    | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  events  | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
admin  post    | 401  401   401  201 | 401  401   401  201 | 401  401   401  201 | 403  403   403  403
admin  ws-user | 101  101   101  101 | 101  101   101  101 | 101  101   101  101 | 403  403   403  403
admin  ws-admin| 401  401   401  101 | 401  401   401  101 | 401  401   401  101 | 403  403   403  403
user   /       | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
user   /health | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
user   messages| 401  401   200  401 | 401  401   200  401 | 401  401   200  401 | 403  403   403  403
user   poll    | 401  401   200  401 | 401  401   200  401 | 401  401   200  401 | 403  403   403  403
user   events  | 401  401   200  401 | 401  401   200  401 | 401  401   200  401 | 403  403   403  403
user   post    | 201  201   201  201 | 201  201   201  201 | 201  201   201  201 | 403  403   403  403
user   ws-user | 401  401   101  401 | 401  401   101  401 | 401  401   101  401 | 403  403   403  403
user   ws-admin| 401  401   101  401 | 401  401   101  401 | 401  401   101  401 | 403  403   403  403
both   /       | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
both   /health | 200  200   200  200 | 200  200   200  200 | 200  200   200  200 | 403  403   403  403
both   messages| 401  401   200  200 | 401  401   200  200 | 401  401   200  200 | 403  403   403  403
both   poll    | 401  401   200  200 | 401  401   200  200 | 401  401   200  200 | 403  403   403  403
both   events  | 401  401   200  200 | 401  401   200  200 | 401  401   200  200 | 403  403   403  403
both   post    | 401  401   401  201 | 401  401   401  201 | 401  401   401  201 | 403  403   403  403
both   ws-user | 401  401   101  101 | 401  401   101  101 | 401  401   101  101 | 403  403   403  403
both   ws-admin| 401  401   401  101 | 401  401   401  101 | 401  401   401  101 | 403  403   403  403
"""  # noqa: E501
"""The expected status of each cell. Where there is no admin's token, nobody has one: on the server
`user`, what stands under `admn` is just another wrong one."""

WAYS = {
    "/": ("GET", "/"),
    "/health": ("GET", "/health"),
    "messages": ("GET", "/messages"),
    "poll": ("GET", "/notifications"),
    "events": ("GET", "/events"),
    "post": ("POST", "/notifications"),
    "ws-user": ("GET", "/ws"),
    "ws-admin": ("GET", "/ws?client=admin"),
}

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

Serve = Callable[[web.Application], Awaitable[TestServer]]


@dataclass
class Answer:
    """A response: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def detail(self) -> str:
        """The sentence of an error."""
        return str(json.loads(self.body)["detail"])


async def ask(port: int, method: str, target: str, headers: dict[str, str]) -> Answer:
    """One request as it stands on the wire, and the answer; Host is 127.0.0.1 unless given."""
    headers = {"Host": f"127.0.0.1:{port}", **headers}
    if target.startswith("/ws"):
        headers = {**HANDSHAKE, **headers}
    body = "Hello" if method == "POST" else ""
    if body:
        headers["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {headers[name]}" for name in headers)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("\r\n".join([*lines, "", body]).encode())
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
        first, *rest = head.rstrip().split("\r\n")
        found = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        length = 0 if method == "HEAD" else int(found.get("content-length", 0))
        return Answer(int(first.split()[1]), found, (await reader.readexactly(length)).decode())
    finally:
        writer.transport.abort()


def with_token(carried: str, token: str | None, target: str) -> tuple[str, dict[str, str]]:
    """The target and the headers that carry `token`."""
    if token is None:
        return target, {}
    if carried == "query":
        return f"{target}{'&' if '?' in target else '?'}token={token}", {}
    if carried == "subprotocol":
        return target, {"Sec-WebSocket-Protocol": f"aionotify, token.{token}"}
    return target, {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def serve(aiohttp_server: Serve) -> Callable[[Settings], Awaitable[int]]:
    """Starts the application with some settings, without memcached; answers its port."""

    async def start(settings: Settings) -> int:
        alone = replace(settings, memcached_hosts=(Address("127.0.0.1", 1),), shutdown_grace=1)
        port = (await aiohttp_server(create_app(alone))).port
        assert port is not None
        return port

    return start


Start = Callable[[Settings], Awaitable[int]]


def rows(server: str) -> dict[str, list[list[int]]]:
    """The cells of one server: for each way in, four origins of four tokens."""
    table = {}
    for line in CELLS.splitlines()[3:]:
        name, *groups = line.split("|")
        if name.split()[0] == server:
            table[name.split()[1]] = [[int(cell) for cell in group.split()] for group in groups]
    return table


@pytest.mark.parametrize("carried", ["header", "query", "subprotocol"])
@pytest.mark.parametrize("server", SERVERS)
async def test_every_way_in(
    serve: Start, server: str, carried: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    port = await serve(replace(SERVERS[server], allowed_origins=(parse_origin(ALLOWED),)))
    table = rows(server)
    assert list(table) == list(WAYS)
    origins = [None, f"http://127.0.0.1:{port}", ALLOWED, FOREIGN]
    for way, groups in table.items():
        method, path = WAYS[way]
        if carried == "subprotocol" and not way.startswith("ws"):
            continue
        for page, cells in zip(origins, groups, strict=True):
            for token, expected in zip(TOKENS, cells, strict=True):
                target, headers = with_token(carried, TOKENS[token], path)
                headers |= {} if page is None else {"Origin": page}
                answer = await ask(port, method, target, headers)
                assert answer.status == expected, (way, page, token)
                check(answer, page, carried == "subprotocol" and token != "none")
    ours = "\n".join(
        record.getMessage() for record in caplog.records if record.name != "aiohttp.access"
    )  # `serve` runs without an access log; it is the test server that has one
    assert not any(token in ours for token in (ADMIN, OLD_ADMIN, USER, WRONG))


def check(answer: Answer, page: str | None, offers: bool) -> None:
    """What goes along with each status; and never a token."""
    shown = repr(answer)
    assert not any(token in shown for token in (ADMIN, OLD_ADMIN, USER, WRONG))
    assert answer.headers.get("www-authenticate") == ("Bearer" if answer.status == 401 else None)
    if answer.status == 401:
        assert "Authorization: Bearer <token>" in answer.detail
    if answer.status == 403:
        assert "AIONOTIFY_ALLOWED_ORIGINS" in answer.detail
    if answer.status == 101:
        assert answer.headers.get("sec-websocket-protocol") == ("aionotify" if offers else None)
    else:
        shared = page if page != FOREIGN else None
        assert answer.headers.get("access-control-allow-origin") == shared
        assert answer.headers.get("vary") == ("Origin" if shared else None)
    assert "access-control-allow-credentials" not in answer.headers


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
no       | https://app.example/    | notify.example
no       | https://a@app.example   | notify.example
no       | https://app.example, https://app.example | notify.example
no       | app.example             | notify.example
no       | http://                 | notify.example
no       | https://\u212aapp.example | \u212aapp.example
"""


async def test_which_origins_are_accepted(serve: Start) -> None:
    port = await serve(
        Settings(host="0.0.0.0", allowed_origins=(parse_origin("https://app.example"),))
    )
    for line in ORIGINS.splitlines()[2:]:
        accepted, page, host = (part.strip() for part in line.split("|"))
        answer = await ask(port, "GET", "/health", {"Origin": page, "Host": host})
        assert answer.status == {"yes": 200, "no": 403}[accepted], line


@pytest.mark.parametrize("page", ["null", "https://anywhere.example", "capacitor://app"])
async def test_a_star_accepts_every_origin(serve: Start, page: str) -> None:
    port = await serve(Settings(allowed_origins=("*",)))
    for target in ("/health", "/events", "/nowhere"):
        answer = await ask(port, "GET", target, {"Origin": page})
        assert answer.status == (404 if target == "/nowhere" else 200)
        assert answer.headers["access-control-allow-origin"] == page


async def test_a_star_accepts_nothing_that_is_no_origin(serve: Start) -> None:
    port = await serve(Settings(allowed_origins=("*",)))
    for page in ("\ud800".encode(errors="surrogatepass").decode("latin-1"), "é", "x", ""):
        assert (await ask(port, "GET", "/events", {"Origin": page})).status == 403


async def test_a_browser_may_ask_first(serve: Start) -> None:
    port = await serve(Settings(admin_tokens=(ADMIN,), allowed_origins=(parse_origin(ALLOWED),)))
    asked = {"Origin": ALLOWED, "Access-Control-Request-Method": "POST"}
    answer = await ask(port, "OPTIONS", "/notifications", asked)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    assert answer.headers["access-control-allow-headers"] == (
        "Authorization, Content-Type, Last-Event-ID"
    )
    assert answer.headers["vary"] == "Origin"
    answer = await ask(port, "OPTIONS", "/events", asked)
    assert (answer.status, answer.headers["access-control-allow-methods"]) == (204, "GET, HEAD")
    assert (await ask(port, "OPTIONS", "/nowhere", asked)).status == 404
    assert (await ask(port, "OPTIONS", "/notifications", {"Origin": ALLOWED})).status == 405
    answer = await ask(port, "OPTIONS", "/notifications", {**asked, "Origin": FOREIGN})
    assert (answer.status, "access-control-allow-origin" in answer.headers) == (403, False)
    del asked["Origin"]
    answer = await ask(port, "OPTIONS", "/notifications", asked)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"


async def test_an_error_can_be_read_by_an_allowed_page(serve: Start) -> None:
    port = await serve(Settings(user_tokens=(USER,), allowed_origins=(parse_origin(ALLOWED),)))
    for target, status in {"/messages": 401, "/nowhere": 404, "/messages/": 307}.items():
        answer = await ask(port, "GET", target, {"Origin": ALLOWED})
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ALLOWED


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


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
async def test_a_name_that_leads_here_from_elsewhere_is_refused(serve: Start, host: str) -> None:
    port = await serve(Settings(host=host))
    for accepted, name in REBINDING:
        for target in ("/", "/ws?client=admin"):
            page = {"Host": name, "Origin": f"http://{name}"}
            for headers in (page, {"Host": name}):
                answer = await ask(port, "GET", target, headers)
                assert (answer.status != 403) == (accepted == "yes"), (name, target)
        if accepted == "no":
            assert "localhost" in answer.detail
            assert "AIONOTIFY_ADMIN_TOKEN" in answer.detail


@pytest.mark.parametrize(
    "settings",
    [
        Settings(host="0.0.0.0"),
        Settings(admin_tokens=(ADMIN,)),
        Settings(user_tokens=(USER,)),
        Settings(trusted_proxies=1),
    ],
)
async def test_elsewhere_any_name_will_do(serve: Start, settings: Settings) -> None:
    port = await serve(settings)
    assert (await ask(port, "GET", "/", {"Host": "notify.example"})).status == 200


async def test_a_request_without_host_is_no_browsers(serve: Start) -> None:
    port = await serve(Settings())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert b" 200 OK\r\n" in await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_mounted_in_another_application(aiohttp_server: Serve) -> None:
    """That one may be bound to more than loopback; tokens and origins count all the same."""
    root = web.Application()
    settings = Settings(memcached_hosts=(Address("127.0.0.1", 1),))
    root.add_subapp("/open/", create_app(settings))
    closed = Settings(
        memcached_hosts=settings.memcached_hosts, admin_tokens=(ADMIN,), user_tokens=(USER,)
    )
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


async def test_a_route_that_nobody_opened_is_closed(aiohttp_server: Serve) -> None:
    app = create_app(
        Settings(
            memcached_hosts=(Address("127.0.0.1", 1),), admin_tokens=(ADMIN,), user_tokens=(USER,)
        )
    )

    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    app.router.add_get("/later", answer)
    app.router.add_put("/later", answer)
    port = (await aiohttp_server(app)).port
    assert port is not None
    user, admin = {"Authorization": f"Bearer {USER}"}, {"Authorization": f"bearer  {ADMIN}"}
    assert (await ask(port, "GET", "/later", {})).status == 401
    assert (await ask(port, "HEAD", "/later", {})).status == 401
    assert (await ask(port, "GET", "/later", user)).status == 200
    assert (await ask(port, "PUT", "/later", user)).status == 401
    assert (await ask(port, "PUT", "/later", admin)).status == 200


@pytest.mark.parametrize("token", [ADMIN, OLD_ADMIN])
async def test_every_token_of_several_counts(serve: Start, token: str) -> None:
    port = await serve(Settings(admin_tokens=(ADMIN, OLD_ADMIN)))
    for carried in ("header", "query"):
        target, headers = with_token(carried, token, "/notifications")
        assert (await ask(port, "POST", target, headers)).status == 201


@pytest.mark.parametrize(
    "token",
    ["", ADMIN[:-1], f"{ADMIN}x", ADMIN.upper(), f"{ADMIN},{OLD_ADMIN}", "%ED%A0%80", "x" * 7000],
)
async def test_nothing_but_the_token_itself_counts(serve: Start, token: str) -> None:
    port = await serve(Settings(admin_tokens=(ADMIN, OLD_ADMIN)))
    for carried in ("header", "query"):
        target, headers = with_token(carried, token, "/notifications")
        assert (await ask(port, "POST", target, headers)).status == 401
    basic = {"Authorization": f"Basic {ADMIN}"}
    assert (await ask(port, "POST", "/notifications", basic)).status == 401


async def test_the_prefix_gives_a_user_nothing_where_there_is_an_admins_token() -> None:
    environment = {"MEMCACHED_HOST": "127.0.0.1:1", "AIONOTIFY_ADMIN_TOKEN": ADMIN}
    refusal = "You are not authorized to send notifications."
    async with (
        running_server(environment) as server,
        connect(server.ws_url) as user,
        connect(f"{server.ws_url}?token={ADMIN}&format=json") as listener,
        connect(f"{server.ws_url}?client=admin&token={ADMIN}") as admin,
    ):
        for text in ("admin:Hello", "Hello"):
            await user.send(text)
            assert await asyncio.wait_for(user.recv(), 5) == refusal
        await listener.send('{"message":"admin:Hello"}')
        answer = json.loads(await asyncio.wait_for(listener.recv(), 5))
        assert answer == {"type": "error", "detail": refusal}
        await admin.send("admin:from the admin")
        for each in (user, admin):
            heard = await asyncio.wait_for(each.recv(), 5)
            assert heard == "[Notification] from the admin"


async def test_the_log_never_has_a_token_even_at_debug() -> None:
    """Nor has the answer to what cannot even be read as HTTP."""
    environment = {
        "MEMCACHED_HOST": "127.0.0.1:1",
        "AIONOTIFY_ADMIN_TOKEN": ADMIN,
        "AIONOTIFY_USER_TOKEN": USER,
        "AIONOTIFY_HEARTBEAT": "1",
    }
    broken = f"GET /ws?token={ADMIN} HTTP/1.1\r\nAuthorization : Bearer {USER}\r\nx\r\n\r\n"
    async with running_server(environment, "--log-level", "debug") as server:
        for carried in ("header", "query", "subprotocol"):
            for token in (ADMIN, USER, WRONG):
                for target in ("/ws", "/ws?client=admin", "/events", "/messages?topic=%21"):
                    path, headers = with_token(carried, token, target)
                    await ask(server.port, "GET", path, headers)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(broken.encode())
        assert b" 400 Bad Request\r\n" in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        path, headers = with_token("query", ADMIN, "/ws")
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        lines = [f"GET {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in HANDSHAKE.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await eventually(lambda: "no answer to pings" in server.output(), 8)
        writer.close()
        assert await server.stop() == 0
        assert "a request that is no HTTP" in server.output()
        assert "Traceback" not in server.output()
        assert not any(token in server.output() for token in (ADMIN, USER, WRONG))


FORWARDED = """
proxies | header          | value                                      | address
0       | X-Forwarded-For | 192.0.2.1                                  | -
1       | X-Forwarded-For | 192.0.2.1                                  | 192.0.2.1
1       | X-Forwarded-For | 203.0.113.9, 192.0.2.1                     | 192.0.2.1
2       | X-Forwarded-For | 203.0.113.9, 192.0.2.1,10.0.0.1            | 192.0.2.1
2       | X-Forwarded-For | 192.0.2.1                                  | -
1       | X-Forwarded-For | unknown                                    | -
1       | X-Forwarded-For | 192.0.2.1:4711                             | 192.0.2.1
1       | X-Forwarded-For | [2001:DB8::1]:4711                         | 2001:db8::1
1       | X-Forwarded-For | 2001:db8::1                                | 2001:db8::1
1       | X-Forwarded-For | <script>                                   | -
1       | Forwarded       | for=192.0.2.1;proto=https                  | 192.0.2.1
1       | Forwarded       | for=203.0.113.9, For="[2001:db8::1]:4711"  | 2001:db8::1
2       | Forwarded       | for=192.0.2.1, for=10.0.0.1;by=10.0.0.2    | 192.0.2.1
1       | Forwarded       | proto=https                                | -
1       | X-Real-IP       | 192.0.2.1                                  | -
"""


@pytest.mark.parametrize("line", FORWARDED.splitlines()[2:])
def test_the_address_that_a_proxy_tells(line: str) -> None:
    proxies, name, value, address = (part.strip() for part in line.split("|"))
    request = make_mocked_request("GET", "/", headers={name: value})
    told = Access(Settings(trusted_proxies=int(proxies))).client_address(request)
    assert told == (None if address == "-" else address)


@pytest.mark.parametrize(
    ("proxies", "shown"), [("0", "client 127.0.0.1:"), ("1", "client 192.0.2.1: ")]
)
async def test_the_log_names_the_client_behind_the_proxy(proxies: str, shown: str) -> None:
    environment = {
        "MEMCACHED_HOST": "127.0.0.1:1",
        "AIONOTIFY_TRUSTED_PROXIES": proxies,
        "AIONOTIFY_HEARTBEAT": "1",
    }
    async with running_server(environment) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        lines = ["GET /ws HTTP/1.1", "Host: localhost", "X-Forwarded-For: 192.0.2.1"]
        lines += [f"{name}: {value}" for name, value in HANDSHAKE.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await eventually(lambda: shown in server.output(), 8, "the client is cut off")
        writer.close()


async def test_behind_a_proxy_the_forwarded_host_is_the_own_one(serve: Start) -> None:
    headers = {
        "Host": "127.0.0.1:8000",
        "X-Forwarded-Host": "made.up, notify.example",
        "Origin": "https://notify.example",
    }
    believed = await serve(Settings(host="0.0.0.0", trusted_proxies=1))
    assert (await ask(believed, "GET", "/health", headers)).status == 200
    made_up = {**headers, "Origin": "https://made.up"}
    assert (await ask(believed, "GET", "/health", made_up)).status == 403
    not_believed = await serve(Settings(host="0.0.0.0"))
    assert (await ask(not_believed, "GET", "/health", headers)).status == 403


WARNING = "whoever reaches this server may send: set AIONOTIFY_ADMIN_TOKEN"


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [("0.0.0.0", "", True), ("0.0.0.0", ADMIN, False), ("127.0.0.1", "", False)],
)
async def test_a_start_beyond_loopback_without_a_token_warns(
    host: str, token: str, warned: bool
) -> None:
    environment = {"MEMCACHED_HOST": "127.0.0.1:1", "AIONOTIFY_ADMIN_TOKEN": token}
    async with running_server(environment, "--host", host) as server:
        assert await server.stop() == 0
        assert server.output().count(WARNING) == warned


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("example.com", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def read(**environment: str) -> Settings:
    """The settings of an environment."""
    return read_settings({}, None, environment)[0]


@pytest.mark.parametrize("kind", ["ADMIN", "USER"])
def test_tokens_come_from_the_environment_or_a_file(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{ADMIN},\t{OLD_ADMIN}\n", encoding="utf-8")
    from_environment = read(**{f"AIONOTIFY_{kind}_TOKEN": f" {ADMIN}, {OLD_ADMIN} "})
    from_file = read(**{f"AIONOTIFY_{kind}_TOKEN_FILE": str(file)})
    expected = {"ADMIN": ((ADMIN, OLD_ADMIN), ()), "USER": ((), (ADMIN, OLD_ADMIN))}[kind]
    for settings in (from_environment, from_file):
        assert (settings.admin_tokens, settings.user_tokens) == expected
        assert ADMIN not in repr(settings)
        assert OLD_ADMIN not in f"{settings}"


SHORT = "fifteen-charact"


@pytest.mark.parametrize(
    "text", [SHORT, f"{ADMIN},{SHORT}", f"{ADMIN},", f"{ADMIN}\n{SHORT}", f"{SHORT} x", f"{SHORT}é"]
)
def test_a_token_that_is_none_is_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="AIONOTIFY_ADMIN_TOKEN: ") as refused:
        read(AIONOTIFY_ADMIN_TOKEN=text)
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="AIONOTIFY_USER_TOKEN_FILE: ") as in_file:
        read(AIONOTIFY_USER_TOKEN_FILE=str(file))
    for error in (refused, in_file):
        line = str(error.value)
        assert "\n" not in line
        assert "16 or more" in line
        assert "fifteen" not in line
        assert ADMIN not in line


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    empty, binary, missing = tmp_path / "empty", tmp_path / "binary", tmp_path / "missing"
    empty.write_bytes(b"")
    binary.write_bytes(b"\xff" * 20)
    for file, problem in {empty: "not accepted", binary: "UTF-8|utf-8|start byte"}.items():
        with pytest.raises(SettingsError, match=problem):
            read(AIONOTIFY_ADMIN_TOKEN_FILE=str(file))
    for path in (missing, tmp_path):
        with pytest.raises(SettingsError, match=r"AIONOTIFY_ADMIN_TOKEN_FILE: .* is not a file"):
            read(AIONOTIFY_ADMIN_TOKEN_FILE=str(path))


def test_a_token_and_its_file_are_one_too_many(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(USER, encoding="utf-8")
    with pytest.raises(SettingsError, match="are both set") as refused:
        read(AIONOTIFY_ADMIN_TOKEN=ADMIN, AIONOTIFY_ADMIN_TOKEN_FILE=str(file))
    assert ADMIN not in str(refused.value)


def test_a_misspelt_name_is_told_without_its_value() -> None:
    _, hints = read_settings({}, None, {"AIONOTIFY_ADMIN_TOKENS": ADMIN})
    assert hints == [
        "AIONOTIFY_ADMIN_TOKENS is no setting and does nothing; did you mean AIONOTIFY_ADMIN_TOKEN?"
    ]


def test_which_allowed_origins_are_accepted() -> None:
    text = "https://App.example, http://localhost:3000,*"
    assert read(AIONOTIFY_ALLOWED_ORIGINS=text).allowed_origins == (
        ("https", "app.example", 443),
        ("http", "localhost", 3000),
        "*",
    )
    for text in ("app.example", "https://app.example/", "https://*.example", "null", "http://a b"):
        with pytest.raises(SettingsError, match=r"AIONOTIFY_ALLOWED_ORIGINS: .*example"):
            read(AIONOTIFY_ALLOWED_ORIGINS=text)
