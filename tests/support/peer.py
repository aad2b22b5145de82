"""Servers that follow a script on every connection, for what ours never does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify.encoders import to_json
from aionotify.notification import Notification

Script = Callable[[web.WebSocketResponse], Awaitable[object]]
"""The server's actions on one connection, which it closes afterwards."""


def notification_frame(message: str, id: int = 5) -> str:
    """Return a notification of the topic `main` as our server sends it."""
    return to_json(Notification(id, 0, message)).decode()


def sends(*frames: str) -> Script:
    """Return a script that sends text frames."""

    async def script(ws: web.WebSocketResponse) -> None:
        for frame in frames:
            await ws.send_str(frame)

    return script


class Peer:
    """The server: its address, and the query and the token of every request for `/ws`."""

    def __init__(self) -> None:
        self.url = ""
        self.queries: list[dict[str, str]] = []
        self.tokens: list[str] = []


@asynccontextmanager
async def running_peer(*scripts: Script | int, port: int | None = None) -> AsyncIterator[Peer]:
    """Run a server whose connections follow `scripts`, one after another, and then the last one.

    A number is the status with which a connection is refused.
    The server answers neither pings nor close frames by itself.
    """
    peer = Peer()

    async def connect(request: web.Request) -> web.StreamResponse:
        script = scripts[min(len(peer.queries), len(scripts) - 1)]
        peer.queries.append({**request.query})
        peer.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if isinstance(script, int):
            return web.Response(status=script)
        ws = web.WebSocketResponse(autoping=False, autoclose=False)
        await ws.prepare(request)
        await script(ws)
        await ws.close()
        return ws

    app = web.Application()
    app.router.add_get("/ws", connect)
    async with TestServer(app, port=port) as server:
        peer.url = str(server.make_url("/"))
        yield peer


@asynccontextmanager
async def answering(response: bytes) -> AsyncIterator[int]:
    """Run a server that sends `response` to every request, without a body. Yield its port."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
