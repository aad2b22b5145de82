"""`GET /` and `GET /health`: is it there, and how is it."""

from aiohttp import web

from aionotify.broker import Broker
from aionotify.http.responses import json_response
from aionotify.hub import Hub
from aionotify.notifier import Notifier

GREETING = "FastAPI real-time notifications running!"
"""Clients of the FastAPI version probe for exactly this."""


HEALTH = (
    b'{"status":"healthy","cache_status":"%b",'
    b'"recent_notifications_count":%d,"connected_websockets":%d}'
)


class Status:
    """The state of this process, for probes and for people."""

    def __init__(self, hub: Hub, broker: Broker, notifier: Notifier) -> None:
        self._hub = hub
        self._broker = broker
        self._notifier = notifier

    async def greeting(self, request: web.Request) -> web.Response:
        """`GET /`."""
        return json_response({"message": GREETING})

    async def health(self, request: web.Request) -> web.Response:
        """`GET /health`: answers from memory, whatever memcached does."""
        state = (
            b"connected" if self._broker.connected else b"fallback",
            self._notifier.recent_count(),
            self._hub.websockets,
        )
        return web.Response(body=HEALTH % state, content_type="application/json")
