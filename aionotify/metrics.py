"""What the hub and the cache have counted, as Prometheus wants to read it."""

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
"""Seconds between two looks at how late the event loop is."""


class Metrics(Collector):
    """Reads the figures when it is asked, so that counting costs no more than adding.

    Every application has a registry of its own; nothing is shared between two of them.
    """

    def __init__(self, hub: Hub, cache: Cache) -> None:
        self._hub = hub
        self._cache = cache
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        """Every metric of ours, with all of its labels from the first time on."""
        yield from self._clients()
        yield from self._notifications()
        yield from self._memcached()
        yield _histogram(
            "aionotify_event_loop_lag_seconds",
            "How late the event loop wakes who asked to be woken.",
            self._hub.stats.loop_lag_seconds,
        )

    @web.middleware
    async def count_refusals(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count requests that are not let in."""
        try:
            return await handler(request)
        except Rejected as error:
            self._hub.stats.rejected[error.reason] += 1
            raise

    async def watch_loop(self) -> None:
        """Measure how late the event loop is, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            self._hub.stats.loop_lag_seconds.observe(max(0.0, loop.time() - due))

    def _clients(self) -> Iterator[Metric]:
        stats = self._hub.stats
        connections = GaugeMetricFamily(
            "aionotify_connections", "Clients that listen.", labels=["kind"]
        )
        for kind in ClientKind:
            connections.add_metric([kind], stats.connections[kind])
        yield connections
        yield GaugeMetricFamily(
            "aionotify_lagging",
            "Clients that have yet to accept what was written to them.",
            self._hub.lagging,
        )
        yield _counter(
            "aionotify_cut_off", "Clients that were cut off.", stats.disconnected, DisconnectReason
        )
        yield _counter(
            "aionotify_refused", "Requests that were not let in.", stats.rejected, RejectReason
        )

    def _notifications(self) -> Iterator[Metric]:
        stats = self._hub.stats
        yield GaugeMetricFamily(
            "aionotify_topics",
            "Topics that retain something or are listened to.",
            self._hub.topics,
        )
        yield CounterMetricFamily(
            "aionotify_published", "Notifications published.", stats.published
        )
        yield CounterMetricFamily(
            "aionotify_delivered",
            "Notifications written to clients, without the recents shown on connect.",
            stats.delivered,
        )
        yield CounterMetricFamily("aionotify_gaps", "Gaps that clients were told of.", stats.gaps)
        yield _histogram(
            "aionotify_fanout_seconds",
            "From publishing to the last write of the sweep; the longest of each sweep.",
            stats.fanout_seconds,
        )

    def _memcached(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "aionotify_cache_connected",
            "1 where a memcached keeps the recents, 0 where memory does.",
            int(self._cache.connected),
        )
        yield CounterMetricFamily(
            "aionotify_cache_errors", "Times that memcached was lost.", self._cache.errors
        )
        yield _histogram(
            "aionotify_cache_write_seconds",
            "How long storing the recents of one topic took.",
            self._cache.write_seconds,
        )


def _counter(
    name: str, documentation: str, values: Mapping[Any, int], reasons: Iterable[str]
) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=["reason"])
    for reason in reasons:
        family.add_metric([reason], values.get(reason, 0))
    return family


def _histogram(name: str, documentation: str, histogram: Histogram) -> Metric:
    buckets, total = [], 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((str(bound), total))
    return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=histogram.sum)
