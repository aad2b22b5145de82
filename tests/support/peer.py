"""A WebSocket server whose every connection follows a script, for what ours never does."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify.encoders import to_json
from aionotify.notification import Notification

Script = Callable[[web.WebSocketResponse], Awaitable[object]]
"""What the server does on one connection; afterwards it closes it."""


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
    """The server: its address, and the query of every request for `/ws`."""

    def __init__(self) -> None:
        self.url = ""
        self.queries: list[dict[str, str]] = []


@asynccontextmanager
async def running_peer(*scripts: Script, port: int | None = None) -> AsyncIterator[Peer]:
    """Run a server whose connections follow `scripts`, one after another, and then the last one.

    It answers neither pings nor close frames by itself.
    """
    peer = Peer()

    async def connect(request: web.Request) -> web.WebSocketResponse:
        script = scripts[min(len(peer.queries), len(scripts) - 1)]
        peer.queries.append({**request.query})
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
