"""Counting: what falls into which bucket."""

import pytest

from aionotify.stats import Histogram, Stats


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.1, 0), (0.11, 1), (1.0, 1), (1.01, 2), (60.0, 2)]
)
def test_a_bucket_holds_what_is_at_most_its_bound(seconds: float, bucket: int) -> None:
    histogram = Histogram((0.1, 1.0))
    histogram.observe(seconds)
    assert [number for number, count in enumerate(histogram.counts) if count] == [bucket]
    assert histogram.sum == seconds


def test_observations_add_up() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.25, 0.5, 8.0):
        histogram.observe(seconds)
    assert histogram.counts == [1, 2, 1]
    assert histogram.sum == pytest.approx(8.8)


def test_nothing_has_happened_at_first() -> None:
    counts = Stats()
    assert (counts.published, counts.delivered, counts.gaps) == (0, 0, 0)
    assert not counts.connections
    assert not counts.disconnected
    assert not counts.rejected
    assert sum(counts.fanout_seconds.counts + counts.loop_lag_seconds.counts) == 0
