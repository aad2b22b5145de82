"""`GET /metrics`: metrics for Prometheus."""

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from aionotify.keys import METRICS


async def metrics(request: web.Request) -> web.Response:
    """Answer `GET /metrics` in the Prometheus text format, or OpenMetrics if `Accept` has it."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(
        body=encode(request.app[METRICS].registry),
        # As a header: aiohttp 3.14.5 raises ValueError for a `content_type=` with a charset in it.
        headers={"Content-Type": content_type, "Cache-Control": "no-store"},
    )
