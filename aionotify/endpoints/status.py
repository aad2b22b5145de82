"""`GET /` and `GET /health`, for probes."""

from aiohttp import web

from aionotify.http.responses import json_response
from aionotify.keys import CACHE, HUB
from aionotify.notification import MAIN

GREETING = "FastAPI real-time notifications running!"
"""Clients of the FastAPI version probe for exactly this."""


async def greeting(request: web.Request) -> web.Response:
    """Answer `GET /`."""
    return json_response({"message": GREETING})


async def health(request: web.Request) -> web.Response:
    """Answer `GET /health`. The four keys and their order are part of layer 1."""
    # From memory alone: a probe must not fail because memcached hangs.
    cache, hub = request.app[CACHE], request.app[HUB]
    return json_response(
        {
            "status": "healthy",
            "cache_status": "connected" if cache.connected else "fallback",
            "recent_notifications_count": cache.count(MAIN),
            "connected_websockets": hub.websockets,
        }
    )
