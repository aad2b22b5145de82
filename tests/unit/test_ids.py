"""Ids: where they come from, and what is remembered of topics that were discarded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.ids import MAX_FORGOTTEN, ForgottenTopics, IdSource

NOW = 1_763_884_800.0


# ---------------------------------------------------------------------------------------- IdSource


def test_id_is_the_time_in_microseconds() -> None:
    assert IdSource().next(NOW) == 1_763_884_800_000_000


def test_ids_increase() -> None:
    """Within a microsecond, when the clock steps back, and above the ids of other processes."""
    ids = IdSource()
    found = [ids.next(NOW), ids.next(NOW), ids.next(NOW - 3600)]
    ids.advance(1_763_884_800_000_900)
    found += [ids.next(NOW), ids.next(NOW + 1)]
    assert [each - 1_763_884_800_000_000 for each in found] == [0, 1, 2, 901, 1_000_000]


def test_advancing_never_turns_back() -> None:
    ids = IdSource()
    last = ids.next(NOW)
    ids.advance(5)
    assert ids.last == last
    assert ids.next(NOW - 10) == last + 1


CLOCKS = st.lists(st.floats(0, 9_000_000_000), min_size=1, max_size=50)


@given(CLOCKS, st.integers(0, 2**52))
def test_ids_increase_whatever_the_clock_does(times: list[float], other: int) -> None:
    """They fit into the 53 bits of a JavaScript number, too."""
    ids = IdSource()
    found = [ids.next(each) for each in times]
    ids.advance(other)
    found += [ids.next(each) for each in times]
    assert found == sorted(set(found))
    assert found[len(times)] > other
    assert found[-1] < 2**53


# --------------------------------------------------------------------------------- ForgottenTopics


def test_unknown_topic_is_complete_since_before() -> None:
    assert ForgottenTopics(7).recall("main") == 7


def test_last_id_is_recalled_once() -> None:
    """The topic has it from then on; a copy here would be stale."""
    forgotten = ForgottenTopics(7)
    forgotten.remember("main", 9)
    assert len(forgotten) == 1
    assert forgotten.recall("main") == 9
    assert len(forgotten) == 0
    assert forgotten.recall("main") == 7


def test_id_up_to_before_is_not_kept() -> None:
    """It would say less than `before` does."""
    forgotten = ForgottenTopics(7)
    forgotten.remember("main", 7)
    assert len(forgotten) == 0
    assert forgotten.recall("main") == 7


def test_oldest_is_dropped_at_the_limit() -> None:
    """From then on, nothing older is known of any topic: its clients are told of a gap."""
    forgotten = ForgottenTopics(5, limit=2)
    for topic, id in (("one", 10), ("two", 20), ("three", 30)):
        forgotten.remember(topic, id)
    assert forgotten.before == 10
    assert forgotten.snapshot() == {"two": 20, "three": 30}
    assert [forgotten.recall(each) for each in ("one", "two", "three")] == [10, 20, 30]


def test_topic_discarded_again_is_the_newest() -> None:
    forgotten = ForgottenTopics(5, limit=2)
    for topic, id in (("one", 10), ("two", 20), ("one", 30), ("three", 40)):
        forgotten.remember(topic, id)
    assert forgotten.snapshot() == {"one": 30, "three": 40}
    assert forgotten.before == 20


def test_snapshot_is_a_copy() -> None:
    forgotten = ForgottenTopics(0)
    forgotten.remember("main", 9)
    forgotten.snapshot().clear()
    assert forgotten.recall("main") == 9


def test_restoring_replaces_everything() -> None:
    forgotten = ForgottenTopics(50)
    forgotten.remember("main", 60)
    forgotten.restore(5, {"other": 20, "older": 3})
    assert forgotten.before == 5
    assert forgotten.snapshot() == {"other": 20}
    assert forgotten.recall("main") == 5


def test_restoring_too_many_keeps_the_highest() -> None:
    """Whatever their order: a high id that is dropped first would be a gap in all other topics."""
    forgotten = ForgottenTopics(0, limit=2)
    forgotten.restore(0, {"main": 99, "one": 10, "two": 20})
    assert forgotten.snapshot() == {"two": 20, "main": 99}
    assert forgotten.before == 10


def test_memory_is_bounded() -> None:
    forgotten = ForgottenTopics(0)
    for number in range(MAX_FORGOTTEN + 10):
        forgotten.remember(f"topic{number}", number + 1)
    assert len(forgotten) == MAX_FORGOTTEN
    assert forgotten.before == 10


STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=60)


@given(STEPS, st.integers(1, 4))
def test_recalled_id_never_hides_a_gap(steps: list[tuple[str, bool]], limit: int) -> None:
    """It is at least the last one that was remembered, and exactly that while nothing was dropped.

    Each step discards a topic with a new id, or creates it again.
    """
    forgotten = ForgottenTopics(1, limit=limit)
    last: dict[str, int] = {}
    for id, (topic, discard) in enumerate(steps, 2):
        if discard:
            forgotten.remember(topic, id)
            last[topic] = id
        else:
            recalled = forgotten.recall(topic)
            assert recalled == max(last.pop(topic, 1), forgotten.before)
        assert len(forgotten) <= limit
    for topic, id in last.items():
        assert forgotten.recall(topic) >= id


@pytest.mark.parametrize("limit", [1, 3])
def test_before_never_falls(limit: int) -> None:
    """Topics are not discarded in the order of their ids."""
    forgotten = ForgottenTopics(0, limit=limit)
    seen = []
    for number, id in enumerate((100, 99, 50, 60, 101, 102, 103, 104, 105, 106)):
        forgotten.remember(f"topic{number}", id)
        seen.append(forgotten.before)
    assert seen == sorted(seen)
    assert seen[-1] >= 100
