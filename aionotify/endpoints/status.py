"""`GET /` and `GET /health`, for probes."""

from aiohttp import web

from aionotify.http.responses import json_response
from aionotify.keys import BROKER, HUB, NOTIFIER

GREETING = "FastAPI real-time notifications running!"
"""Clients of the FastAPI version probe for exactly this."""


async def greeting(request: web.Request) -> web.Response:
    """Answer `GET /`."""
    return json_response({"message": GREETING})


async def health(request: web.Request) -> web.Response:
    """Answer `GET /health`. The four keys and their order are part of layer 1."""
    # From memory alone: a probe must not fail because memcached hangs.
    app = request.app
    lag = app[BROKER].lag
    return json_response(
        {
            "status": "healthy",
            "cache_status": "connected" if app[BROKER].connected else "fallback",
            "recent_notifications_count": app[NOTIFIER].recent_count(),
            "connected_websockets": app[HUB].websockets,
        },
        # What `cache_status` is about, for the page. Not from `/metrics`, which may need a token.
        headers={"Aionotify-Backend": "memcached" if lag is None else f"nats;lag={lag}"},
    )
