"""Prometheus metrics: the figures of the hub and the cache, in the format of its client library."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from aionotify.cache import Cache
from aionotify.errors import Rejected
from aionotify.hub import Hub
from aionotify.stats import ClientKind, DisconnectReason, Histogram, RejectReason

LAG_INTERVAL = 0.5
"""Seconds between two measurements of the event loop's lag."""


class Metrics(Collector):
    """The metrics of one application, read from the hub and the cache on each scrape.

    Metric names are a public interface: alarms and dashboards use them.
    """

    def __init__(self, hub: Hub, cache: Cache) -> None:
        self._hub = hub
        self._cache = cache
        # Not the global REGISTRY of prometheus-client, which raises for names that are registered
        # twice: two applications in one process would not even start.
        self.registry = CollectorRegistry()
        # A collector instead of the library's Counter objects: those take a lock for every
        # increment, and the fan-out counts deliveries by the hundred thousand per second.
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        """Iterate over all metrics, with every label from the first scrape on."""
        yield from self._client_metrics()
        yield from self._notification_metrics()
        yield from self._cache_metrics()
        yield _histogram(
            "aionotify_event_loop_lag_seconds",
            "Event loop lag.",
            self._hub.stats.loop_lag_seconds,
        )

    @web.middleware
    async def count_rejections(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count rejected requests by reason."""
        # The reason is in the error only, so this must come before errors become responses.
        try:
            return await handler(request)
        except Rejected as error:
            self._hub.stats.rejected[error.reason] += 1
            raise

    async def watch_loop(self) -> None:
        """Measure the event loop's lag every `LAG_INTERVAL` seconds, forever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            # asyncio runs timers that are due within the clock's resolution a little early.
            self._hub.stats.loop_lag_seconds.observe(max(0.0, loop.time() - due))

    def _client_metrics(self) -> Iterator[Metric]:
        stats = self._hub.stats
        connections = GaugeMetricFamily(
            "aionotify_connections", "Connected clients.", labels=["kind"]
        )
        for kind in ClientKind:
            connections.add_metric([kind], stats.connections[kind])
        yield connections
        yield GaugeMetricFamily(
            "aionotify_lagging",
            "Connected clients that have not accepted all data yet.",
            self._hub.lagging,
        )
        yield _counter_by_reason(
            "aionotify_cut_off",
            "Clients disconnected by the server.",
            stats.disconnected,
            DisconnectReason,
        )
        yield _counter_by_reason(
            "aionotify_refused", "Rejected requests.", stats.rejected, RejectReason
        )

    def _notification_metrics(self) -> Iterator[Metric]:
        stats = self._hub.stats
        yield GaugeMetricFamily(
            "aionotify_topics", "Topics with subscribers or a history.", self._hub.topics
        )
        yield CounterMetricFamily(
            "aionotify_published", "Published notifications.", stats.published
        )
        yield CounterMetricFamily(
            "aionotify_delivered",
            "Notifications written to clients, except recent ones shown on connect.",
            stats.delivered,
        )
        yield CounterMetricFamily("aionotify_gaps", "Gaps reported to clients.", stats.gaps)
        yield _histogram(
            "aionotify_fanout_seconds",
            "Time from publishing to the last write of a fan-out pass; the longest of each pass.",
            stats.fanout_seconds,
        )

    def _cache_metrics(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "aionotify_cache_connected",
            "1 if connected to memcached, 0 if recent notifications are kept in memory only.",
            int(self._cache.connected),
        )
        yield CounterMetricFamily(
            "aionotify_cache_errors", "Lost connections to memcached.", self._cache.errors
        )
        yield _histogram(
            "aionotify_cache_write_seconds",
            "Time to store the recent notifications of one topic.",
            self._cache.write_seconds,
        )


def _counter_by_reason(
    name: str, documentation: str, values: Mapping[Any, int], reasons: Iterable[str]
) -> Metric:
    """Return a counter with a label for each of `reasons`, including those that are 0."""
    # A series that first appears with its first event has no earlier 0 to compare with, so
    # `increase()` would miss that event.
    family = CounterMetricFamily(name, documentation, labels=["reason"])
    for reason in reasons:
        family.add_metric([reason], values.get(reason, 0))
    return family


def _histogram(name: str, documentation: str, histogram: Histogram) -> Metric:
    """Return `histogram` with cumulative buckets, as Prometheus counts them."""
    # Ours counts each observation in one bucket only, so that observing is one addition.
    buckets, total = [], 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((str(bound), total))
    return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=histogram.sum)
