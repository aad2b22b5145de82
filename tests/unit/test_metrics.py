"""Metrics: counters and histograms as Prometheus expects them, without a server."""

import asyncio
import platform

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from aionotify import __version__
from aionotify.cache import Cache
from aionotify.frames import CloseCode
from aionotify.hub import Hub
from aionotify.metrics import Metrics, _counter, _histogram
from aionotify.stats import ClusterStats, Histogram, RejectReason

BOUNDS = (0.1, 1.0, 10.0)


def built() -> tuple[Hub, Metrics]:
    """Return a hub without topics, and its metrics."""
    hub = Hub(history_limit=10, ttl=60, max_connections=10)
    return hub, Metrics(hub, cache=Cache((), 5, 60), cluster=ClusterStats())


def samples(metric: Metric) -> dict[str, float]:
    """Return the value of each sample of `metric`, by its name and labels."""
    return {
        " ".join([each.name, *each.labels.values()]): float(each.value) for each in metric.samples
    }


def test_counter_has_every_reason() -> None:
    """Including those that did not occur, or `increase()` misses the first occurrence."""
    metric = _counter("a", "Help.", "reason", {RejectReason.HOST: 2}, RejectReason)
    expected = {f"a_total {reason}": 0.0 for reason in RejectReason} | {"a_total host": 2.0}
    assert samples(metric) == expected


@given(seconds=st.lists(st.floats(0, 20)))
def test_histogram_is_cumulative(seconds: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    for each in seconds:
        histogram.observe(each)
    found = samples(_histogram("a", "Help.", histogram))
    for bound in BOUNDS:
        assert found[f"a_bucket {bound}"] == sum(each <= bound for each in seconds)
    assert found["a_bucket +Inf"] == found["a_count"] == len(seconds)
    assert found["a_sum"] == pytest.approx(sum(seconds))


def test_registry_is_its_own() -> None:
    """With a shared registry, the second application could not register the same names."""
    (hub, first), (_, second) = built(), built()
    hub.stats.published = 7
    assert b"aionotify_published_total 7.0" in generate_latest(first.registry)
    assert b"aionotify_published_total 0.0" in generate_latest(second.registry)


def test_help_is_one_sentence_each() -> None:
    _, ours = built()
    text = generate_latest(ours.registry).decode()
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("process_"):
            assert family.documentation.endswith("."), family.name
            assert family.documentation.count(".") == 1, family.name


def test_close_codes_are_counted() -> None:
    """Those that the server starts: a client that closes with 1000 is none of its decisions."""
    hub, ours = built()
    hub.stats.closed[CloseCode.TRY_AGAIN_LATER] += 2
    found = samples(next(each for each in ours.collect() if each.name == "aionotify_closes"))
    codes = (1002, 1003, 1007, 1009, 1012, 3000)
    expected = {f"aionotify_closes_total {code}": 0.0 for code in codes}
    assert found == expected | {"aionotify_closes_total 1013": 2.0}


def test_build_and_limit_are_gauges() -> None:
    _, ours = built()
    text = generate_latest(ours.registry).decode()
    labels = f'event_loop="none",python="{platform.python_version()}",version="{__version__}"'
    assert f"\naionotify_build_info{{{labels}}} 1.0\n" in text
    assert "\naionotify_connection_limit 10.0\n" in text


async def test_loop_lag_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each measurement is one observation; a timer that fires early counts as no lag."""
    hub, ours = built()
    lags = iter([0.3, -0.001])
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        try:
            now += seconds + next(lags)
        except StopIteration:
            raise asyncio.CancelledError from None

    class Clock:
        """The time of the loop."""

        def time(self) -> float:
            """Return the time."""
            return now

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio, "get_running_loop", Clock)
    with pytest.raises(asyncio.CancelledError):
        await ours.watch_loop()
    histogram = hub.stats.loop_lag_seconds
    assert sum(histogram.counts) == 2
    assert histogram.sum == pytest.approx(0.3)
