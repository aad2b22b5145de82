"""The history of a topic, compared with a plain model."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aionotify.history import History
from aionotify.notification import Notification
from tests.support.builders import NOW


def messages(history: History) -> list[str]:
    """Return every retained message."""
    return [each.message for each in history.between(history.first, 1 << 30)]


def test_id_is_time_in_microseconds() -> None:
    """The time itself is kept in milliseconds."""
    history = History(10)
    assert history.append("Hello", NOW) == Notification(1763884800000000, 1763884800000, "Hello")


def test_ids_increase() -> None:
    """Within a microsecond, when the clock steps back, and above ids of other processes."""
    history = History(10)
    ids = [
        history.append("a", NOW).id,
        history.append("b", NOW).id,
        history.append("c", NOW - 3600).id,
        history.append("d", NOW, after=1763884800000900).id,
        history.append("e", NOW + 1).id,
    ]
    assert [each - 1763884800000000 for each in ids] == [0, 1, 2, 901, 1000000]


def test_last_id_outlives_expired_notifications() -> None:
    history = History(10)
    last = history.append("a", NOW).id
    history.expire(NOW + 1)
    assert messages(history) == []
    assert history.append("b", NOW - 10).id == last + 1


def test_seed_is_sorted() -> None:
    """New ids continue after the newest of a seed."""
    history = History(10)
    history.seed([Notification(20, 1, "b"), Notification(10, 1, "a")])
    assert messages(history) == ["a", "b"]
    assert history.head == 2
    assert history.append("c", 0.0).id == 21


def test_seed_never_lowers_ids() -> None:
    history = History(10)
    last = history.append("a", NOW).id
    history.expire(NOW + 1)
    history.seed([Notification(5, 1, "old")])
    assert history.append("b", 0.0).id == last + 1


def test_seed_requires_empty_history() -> None:
    history = History(10)
    history.append("a", NOW)
    with pytest.raises(ValueError, match="empty"):
        history.seed([Notification(5, 1, "old")])


def test_seed_is_bounded() -> None:
    history = History(2)
    history.seed(Notification(number, 1, f"m{number}") for number in range(5))
    assert messages(history) == ["m3", "m4"]
    assert (history.first, history.head) == (3, 5)


def test_byte_limit_keeps_newest() -> None:
    """Bytes are counted as UTF-8, and the newest notification stays however long it is."""
    history = History(10, max_bytes=8)
    history.append("éé", NOW)
    history.append("éé", NOW)
    assert messages(history) == ["éé", "éé"]
    history.append("x", NOW)
    assert messages(history) == ["éé", "x"]
    history.append("x" * 100, NOW)
    assert messages(history) == ["x" * 100]


def test_evicted_position_is_an_error() -> None:
    history = History(1)
    history.append("a", NOW)
    history.append("b", NOW)
    with pytest.raises(LookupError, match="position 0"):
        history.between(0, 100)


def test_batch_is_bounded() -> None:
    """It has one notification at least, also if that is longer than the limit."""
    history = History(10)
    for message in ("aaaa", "bb", "cc", "d"):
        history.append(message, NOW)
    assert [each.message for each in history.between(0, 3)] == ["aaaa"]
    assert [each.message for each in history.between(1, 4)] == ["bb", "cc"]
    assert [each.message for each in history.between(1, 5)] == ["bb", "cc", "d"]
    assert history.between(4, 5) == []


@dataclass
class Model:
    """Every notification ever appended, and how many of them were dropped."""

    everything: list[Notification] = field(default_factory=list)
    dropped: int = 0

    @property
    def retained(self) -> list[Notification]:
        return self.everything[self.dropped :]


class HistoryAgainstModel(RuleBasedStateMachine):
    """Append, expire and read in any order, while the clock steps back and forth."""

    @initialize(
        limit=st.integers(1, 6),
        max_bytes=st.integers(1, 30),
        seed=st.lists(st.tuples(st.integers(1, 50), st.text(max_size=5)), max_size=8),
        complete_since=st.integers(0, 60),
    )
    def start(
        self, limit: int, max_bytes: int, seed: list[tuple[int, str]], complete_since: int
    ) -> None:
        """Start with any `complete_since`: it is above the seed after an unclean stop."""
        self.limit, self.max_bytes, self.complete_since = limit, max_bytes, complete_since
        self.history, self.model, self.now = (
            History(limit, max_bytes, complete_since=complete_since),
            Model(),
            0.0,
        )
        unique = {id: Notification(id, 0, message) for id, message in seed}
        self.history.seed(unique.values())
        self.model.everything = [unique[id] for id in sorted(unique)]
        self.evict()

    def evict(self) -> None:
        def size() -> int:
            return sum(len(each.message.encode()) for each in self.model.retained)

        while len(self.model.retained) > self.limit or (
            size() > self.max_bytes and len(self.model.retained) > 1
        ):
            self.model.dropped += 1

    @rule(message=st.text(max_size=12), step=st.sampled_from([0, 0, 0.001, 1, -1, 60, -60]))
    def append(self, message: str, step: float) -> None:
        self.now = max(0.0, self.now + step)
        last = max([self.complete_since, *(each.id for each in self.model.everything[-1:])])
        added = self.history.append(message, self.now)
        assert added.id == max(int(self.now * 1_000_000), last + 1)
        assert (added.time, added.message) == (int(self.now * 1000), message)
        self.model.everything.append(added)
        self.evict()

    @rule(age=st.sampled_from([0, 1, 30, 100]))
    def expire(self, age: float) -> None:
        oldest = self.now - age
        self.history.expire(oldest)
        while self.model.retained and self.model.retained[0].time < oldest * 1000:
            self.model.dropped += 1

    @rule(back=st.integers(0, 8), max_bytes=st.integers(1, 40))
    def read(self, back: int, max_bytes: int) -> None:
        cursor = len(self.model.everything) - back
        if cursor < self.model.dropped:
            return
        found = self.history.between(cursor, max_bytes)
        assert found == self.model.everything[cursor : cursor + len(found)]
        sizes = [len(each.message.encode()) for each in found]
        assert sum(sizes) <= max_bytes or len(found) == 1
        following = self.model.everything[cursor + len(found) : cursor + len(found) + 1]
        for each in following:
            assert sum(sizes) + len(each.message.encode()) > max_bytes
            assert found

    @rule(at=st.integers(0, 30), off=st.sampled_from([0, 0, 0, -1, 1, 10**15]))
    def since(self, at: int, off: int) -> None:
        """Check that complete means: the id is known, and nothing after it was dropped."""
        ids = [self.complete_since, *(each.id for each in self.model.everything)]
        id = ids[at % len(ids)] + off
        position, complete = self.history.after(id)
        assert self.history.between(position, 1 << 30) == [
            each for each in self.model.retained if each.id > id
        ]
        dropped = self.model.everything[: self.model.dropped]
        assert complete == (
            id in ids and id >= self.complete_since and not any(each.id > id for each in dropped)
        )

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "history"):
            assert self.history.first == self.model.dropped
            assert self.history.head == len(self.model.everything)
            assert self.history.between(self.history.first, 1 << 30) == self.model.retained


TestHistoryAgainstModel = HistoryAgainstModel.TestCase


@given(st.lists(st.floats(0, 2_000_000_000), min_size=1, max_size=50))
def test_ids_increase_for_any_clock(times: list[float]) -> None:
    history = History(3)
    ids = [history.append("x", now).id for now in times]
    assert ids == sorted(set(ids))
    assert ids[-1] < 2**53
