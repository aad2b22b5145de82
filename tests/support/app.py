"""The application on a socket of this process, with ways to publish past every wire format."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect

from aionotify.keys import HUB, NOTIFIER
from aionotify.notification import MAIN, Notification
from tests.support.waiting import eventually


@dataclass(frozen=True)
class RunningApp:
    """An application and the port of 127.0.0.1 on which it listens."""

    app: web.Application
    port: int

    async def publish(self, *messages: str, topic: str = MAIN) -> list[Notification]:
        """Publish `messages` in order, without a request."""
        return [await self.app[NOTIFIER].publish(message, topic) for message in messages]

    @asynccontextmanager
    async def client(self, query: str = "") -> AsyncIterator[ClientConnection]:
        """Connect a strict WebSocket client, without compression, so that frames stay as sent."""
        url = f"ws://127.0.0.1:{self.port}/ws{query}"
        async with connect(url, compression=None, max_size=None) as connection:
            yield connection

    @asynccontextmanager
    async def unread_client(self, request: bytes) -> AsyncIterator[socket.socket]:
        """Subscribe the first client, with `request` and a small receive buffer.

        Nothing is read from the socket: a test does, or does not.
        """
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", self.port))
            await loop.sock_sendall(client, request)
            await eventually(lambda: self.app[HUB].connected == 1)
            yield client


Serve = Callable[..., Awaitable[RunningApp]]
"""Starts an application; keyword arguments are settings, as for `alone`."""
