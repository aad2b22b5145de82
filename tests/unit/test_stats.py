"""The counters of an application."""

import pytest

from aionotify.stats import Histogram, Stats


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.1, 0), (0.11, 1), (1.0, 1), (1.01, 2), (60.0, 2)]
)
def test_bucket_includes_its_upper_bound(seconds: float, bucket: int) -> None:
    histogram = Histogram((0.1, 1.0))
    histogram.observe(seconds)
    assert [number for number, count in enumerate(histogram.counts) if count] == [bucket]
    assert histogram.sum == seconds


def test_histogram_sums_observations() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.25, 0.5, 8.0):
        histogram.observe(seconds)
    assert histogram.counts == [1, 2, 1]
    assert histogram.sum == pytest.approx(8.8)


def test_stats_start_at_zero() -> None:
    stats = Stats()
    assert (stats.published, stats.delivered, stats.gaps) == (0, 0, 0)
    assert not stats.connections
    assert not stats.disconnected
    assert not stats.rejected
    assert sum(stats.fanout_seconds.counts + stats.loop_lag_seconds.counts) == 0
