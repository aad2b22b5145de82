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
    """The server: its address, and the query and the token of every request."""

    def __init__(self) -> None:
        self.url = ""
        self.queries: list[dict[str, str]] = []
        self.tokens: list[str] = []

    def note(self, request: web.Request) -> int:
        """Note a request, with its token from the header or the subprotocols. Return its number."""
        self.queries.append({**request.query})
        offered = request.headers.get("Sec-WebSocket-Protocol", "").partition("token.")[2]
        self.tokens.append(request.headers.get("Authorization", offered).removeprefix("Bearer "))
        return len(self.queries) - 1


@asynccontextmanager
async def running_peer(*scripts: Script | int, port: int | None = None) -> AsyncIterator[Peer]:
    """Run a server whose connections follow `scripts`, one after another, and then the last one.

    A number is the status with which a connection is refused.
    The server answers neither pings nor close frames by itself.
    """
    peer = Peer()

    async def connect(request: web.Request) -> web.StreamResponse:
        script = scripts[min(peer.note(request), len(scripts) - 1)]
        if isinstance(script, int):
            return web.Response(status=script)
        # A browser that offers subprotocols, with its token, fails unless one is chosen.
        ws = web.WebSocketResponse(autoping=False, autoclose=False, protocols=("aionotify",))
        await ws.prepare(request)
        await script(ws)
        await ws.close()
        return ws

    app = web.Application()
    app.router.add_get("/ws", connect)
    async with _serving(app, port) as server:
        peer.url = str(server.make_url("/"))
        yield peer


@asynccontextmanager
async def running_stream_peer(*streams: list[str] | int, held: int) -> AsyncIterator[Peer]:
    """Run a server that answers each request for `/events` with the next of `streams`.

    A stream is the data of its events; a number is an HTTP status. Stream number `held` stays open.
    """
    peer, end = Peer(), asyncio.Event()
    allow = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "Authorization"}

    async def preflight(request: web.Request) -> web.Response:
        return web.Response(headers=allow)

    async def connect(request: web.Request) -> web.StreamResponse:
        count = peer.note(request)
        stream = streams[count]
        if isinstance(stream, int):
            return web.Response(text="<h1>Not JSON</h1>", status=stream, headers=allow)
        response = web.StreamResponse(headers={**allow, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write("".join(f"data: {each}\n\n" for each in stream).encode())
        if count >= held:
            await end.wait()
        return response

    app = web.Application()
    app.router.add_get("/events", connect)
    app.router.add_options("/events", preflight)
    async with _serving(app) as server:
        peer.url = str(server.make_url("/"))
        try:
            yield peer
        finally:
            end.set()


@asynccontextmanager
async def _serving(app: web.Application, port: int | None = None) -> AsyncIterator[TestServer]:
    """Run `app`. At the end, connections are cut after a second, and not after a minute."""
    server = TestServer(app, port=port)
    await server.start_server(shutdown_timeout=1.0)
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def answering(response: bytes) -> AsyncIterator[int]:
    """Run a server that sends `response` to every request, without a body. Yield its port."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
