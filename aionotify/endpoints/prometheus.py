"""`GET /metrics`: metrics for Prometheus."""

import re

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from aionotify.keys import METRICS

_OTHER_VERSION = re.compile(r"version=(?![0-9]{1,3}(?:\.[0-9]{1,3})*\s*(?:[,;]|$))")
"""A version in `Accept` that is not made of numbers."""


async def metrics(request: web.Request) -> web.Response:
    """Answer `GET /metrics` in the Prometheus text format, or OpenMetrics if `Accept` has it."""
    accept = request.headers.get("Accept", "")
    # prometheus-client 0.26 raises TypeError for `text/plain;version=latest`, and repeats any other
    # version in the Content-Type.
    encode, content_type = choose_encoder("" if _OTHER_VERSION.search(accept) else accept)
    return web.Response(
        body=encode(request.app[METRICS].registry),
        # As a header: aiohttp 3.14.5 raises ValueError for a `content_type=` with a charset in it.
        headers={"Content-Type": content_type, "Cache-Control": "no-store"},
    )
