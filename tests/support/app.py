"""The application on a socket of this process, with ways to publish past every wire format."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect

from aionotify.keys import NOTIFIER
from aionotify.notification import MAIN, Notification


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


Serve = Callable[..., Awaitable[RunningApp]]
"""Starts an application; keyword arguments are settings, as for `alone`."""
