"""Requests with tokens and origins, as they are written on the wire."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify import Settings, create_app
from aionotify.net import Address

ADMIN, OLD_ADMIN, USER = "admin-0123456789", "retired-admin-0123", "user-0123456789a"
WRONG = "wrong-0123456789"
ALLOWED, FOREIGN = "https://app.example", "https://evil.example"

NO_MEMCACHED = (Address("127.0.0.1", 1),)

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

Serve = Callable[[web.Application], Awaitable[TestServer]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def detail(self) -> str:
        """The sentence of an error."""
        return str(json.loads(self.body)["detail"])


async def start(aiohttp_server: Serve, settings: Settings) -> int:
    """Start the application with `settings`, without memcached, and return its port."""
    alone = replace(settings, memcached_hosts=NO_MEMCACHED, shutdown_grace=1)
    port = (await aiohttp_server(create_app(alone))).port
    assert port is not None
    return port


async def ask(port: int, method: str, target: str, headers: dict[str, str]) -> Reply:
    """Send one request, and return the response. `Host` is 127.0.0.1 unless given."""
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
        found: dict[str, str] = {}
        for name, _, value in (line.partition(": ") for line in rest):
            known = found.get(name.lower())
            found[name.lower()] = f"{known}, {value}" if known else value
        length = 0 if method == "HEAD" else int(found.get("content-length", 0))
        return Reply(int(first.split()[1]), found, (await reader.readexactly(length)).decode())
    finally:
        writer.transport.abort()


def with_token(place: str, token: str | None, target: str) -> tuple[str, dict[str, str]]:
    """Return the target and the headers that carry `token` in `place`."""
    if token is None:
        return target, {}
    if place == "query":
        return f"{target}{'&' if '?' in target else '?'}token={token}", {}
    if place == "cookie":
        return target, {"Cookie": f"theme=dark; aionotify_token={token}"}
    if place == "subprotocol":
        return target, {"Sec-WebSocket-Protocol": f"aionotify, token.{token}"}
    return target, {"Authorization": f"Bearer {token}"}
