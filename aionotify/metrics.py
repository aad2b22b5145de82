"""Prometheus metrics: the figures of the hub and the cache, in the format of its client library."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from aionotify.build import running_build
from aionotify.cache import Cache
from aionotify.frames import CloseCode
from aionotify.hub import Hub
from aionotify.stats import ClientKind, ClusterStats, DisconnectReason, Histogram, RejectReason

LAG_INTERVAL = 0.5
"""Seconds between two measurements of the event loop's lag."""


_OWN_CODES = [code.value for code in CloseCode if code is not CloseCode.NORMAL]
"""Close codes that the server starts with; 1000 only answers a client that closes."""


class Metrics(Collector):
    """The metrics of one application, read from the hub and from its cache or its cluster.

    Metric names are a public interface: alarms and dashboards use them.
    """

    def __init__(
        self, hub: Hub, *, cache: Cache | None = None, cluster: ClusterStats | None = None
    ) -> None:
        self._hub = hub
        self._cache = cache
        self._cluster = cluster
        # Not the global REGISTRY of prometheus-client, which raises for names that are registered
        # twice: two applications in one process would not even start.
        self.registry = CollectorRegistry()
        # A collector instead of the library's Counter objects: those take a lock for every
        # increment, and the fan-out counts deliveries by the hundred thousand per second.
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        """Iterate over all metrics, with every label from the first scrape on."""
        yield self._build_info()
        yield from self._client_metrics()
        yield from self._notification_metrics()
        if self._cache is not None:
            yield from _cache_metrics(self._cache)
        if self._cluster is not None:
            yield from _cluster_metrics(self._cluster)
        yield _histogram(
            "aionotify_event_loop_lag_seconds",
            "Event loop lag.",
            self._hub.stats.loop_lag_seconds,
        )

    async def watch_loop(self) -> None:
        """Measure the event loop's lag every `LAG_INTERVAL` seconds, forever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            # asyncio runs timers that are due within the clock's resolution a little early.
            self._hub.stats.loop_lag_seconds.observe(max(0.0, loop.time() - due))

    def _build_info(self) -> Metric:
        """Return a gauge that is always 1, with the versions as labels, as Prometheus advises."""
        # Joined to other series (`* on(instance) group_left(version)`), it tells the figures of one
        # version from those of another. A version in every label would end every series instead.
        family = GaugeMetricFamily(
            "aionotify_build_info",
            "Versions of the running server.",
            labels=["version", "python", "event_loop"],
        )
        build = running_build()
        family.add_metric([build.version, build.python, build.event_loop], 1)
        return family

    def _client_metrics(self) -> Iterator[Metric]:
        stats = self._hub.stats
        connections = GaugeMetricFamily(
            "aionotify_connections", "Connected clients.", labels=["kind"]
        )
        for kind in ClientKind:
            connections.add_metric([kind], stats.connections[kind])
        yield connections
        yield GaugeMetricFamily(
            "aionotify_connection_limit",
            "Connected clients above which further ones are rejected.",
            self._hub.max_connections,
        )
        yield GaugeMetricFamily(
            "aionotify_lagging",
            "Connected clients that have not accepted all data yet.",
            self._hub.lagging,
        )
        yield _counter(
            "aionotify_cut_off",
            "Clients disconnected by the server.",
            "reason",
            stats.disconnected,
            DisconnectReason,
        )
        yield _counter(
            "aionotify_closes",
            "WebSocket connections closed by the server.",
            "code",
            stats.closed,
            _OWN_CODES,
        )
        yield _counter(
            "aionotify_refused", "Rejected requests.", "reason", stats.rejected, RejectReason
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


def _cache_metrics(cache: Cache) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "aionotify_cache_connected",
        "1 if connected to memcached, 0 if recent notifications are kept in memory only.",
        int(cache.connected),
    )
    yield CounterMetricFamily(
        "aionotify_cache_errors", "Lost connections to memcached.", cache.errors
    )
    yield _histogram(
        "aionotify_cache_write_seconds",
        "Time to store the recent notifications of one topic.",
        cache.write_seconds,
    )


def _cluster_metrics(stats: ClusterStats) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "aionotify_nats_connected",
        "1 if connected to NATS and nothing in the stream is missing here, else 0.",
        int(stats.connected),
    )
    yield GaugeMetricFamily(
        "aionotify_nats_lag", "Notifications in the stream that have not arrived.", stats.lag
    )
    counters = {
        "retries": ("Attempts to publish that were repeated.", stats.retries),
        "fills": ("Times that notifications had not arrived and were fetched.", stats.fills),
        "went_back": ("Times that the stream was deleted or replaced.", stats.went_back),
        "unavailable": ("Requests that could not be published.", stats.unavailable),
    }
    for name, (documentation, value) in counters.items():
        yield CounterMetricFamily(f"aionotify_nats_{name}", documentation, value)
    yield _histogram(
        "aionotify_nats_publish_seconds",
        "Time until a request to publish is stored and has come back.",
        stats.publish_seconds,
    )


def _counter(
    name: str, documentation: str, label: str, values: Mapping[Any, int], known: Iterable[Any]
) -> Metric:
    """Return a counter with a series for each of the `known` values of `label`, even if it is 0."""
    # A series that first appears with its first event has no earlier 0 to compare with, so
    # `increase()` would miss that event.
    family = CounterMetricFamily(name, documentation, labels=[label])
    for value in known:
        family.add_metric([str(value)], values.get(value, 0))
    return family


def _histogram(name: str, documentation: str, histogram: Histogram) -> Metric:
    """Return `histogram` with cumulative buckets, as Prometheus counts them."""
    # Ours counts each observation in one bucket only, so that observing is one addition.
    buckets, total = [], 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        total += count
        buckets.append((str(bound), total))
    return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=histogram.sum)
