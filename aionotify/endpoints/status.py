"""`GET /` and `GET /health`: is it there, and how is it."""

from aiohttp import web

from aionotify.cache import Cache
from aionotify.http.responses import json_response
from aionotify.hub import Hub
from aionotify.notification import MAIN

GREETING = "FastAPI real-time notifications running!"
"""Clients of the FastAPI version probe for exactly this."""


HEALTH = (
    b'{"status":"healthy","cache_status":"%b",'
    b'"recent_notifications_count":%d,"connected_websockets":%d}'
)


class Status:
    """The state of this process, for probes and for people."""

    def __init__(self, hub: Hub, cache: Cache) -> None:
        self._hub = hub
        self._cache = cache

    async def greeting(self, request: web.Request) -> web.Response:
        """`GET /`."""
        return json_response({"message": GREETING})

    async def health(self, request: web.Request) -> web.Response:
        """`GET /health`: answers from memory, whatever memcached does."""
        state = (
            b"connected" if self._cache.connected else b"fallback",
            self._cache.count(MAIN),
            self._hub.websockets,
        )
        return web.Response(body=HEALTH % state, content_type="application/json")
