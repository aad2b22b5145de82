"""`GET /metrics`: figures for Prometheus."""

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


class MetricsPage:
    """What a registry has, in the format that is asked for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    async def text(self, request: web.Request) -> web.Response:
        """`GET /metrics`: Prometheus text, or OpenMetrics where `Accept` names it."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(
            body=encode(self._registry),
            headers={"Content-Type": content_type, "Cache-Control": "no-store"},
        )
