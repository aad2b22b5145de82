"""What a topic retains, against a plain model."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aionotify.history import History
from aionotify.notification import Notification

NOW = 1_763_884_800.0


def messages(log: History) -> list[str]:
    """Everything that is retained."""
    return [each.message for each in log.between(log.first, 1 << 30)]


def test_an_id_is_the_time_in_microseconds_and_the_time_is_in_milliseconds() -> None:
    log = History(10)
    assert log.append("Hello", NOW) == Notification(1763884800000000, 1763884800000, "Hello")


def test_ids_increase_within_a_microsecond_when_the_clock_steps_back_and_above_others() -> None:
    log = History(10)
    ids = [
        log.append("a", NOW).id,
        log.append("b", NOW).id,
        log.append("c", NOW - 3600).id,
        log.append("d", NOW, after=1763884800000900).id,
        log.append("e", NOW + 1).id,
    ]
    assert [each - 1763884800000000 for each in ids] == [0, 1, 2, 901, 1000000]


def test_the_last_id_is_remembered_when_everything_has_expired() -> None:
    log = History(10)
    last = log.append("a", NOW).id
    log.expire(NOW + 1)
    assert messages(log) == []
    assert log.append("b", NOW - 10).id == last + 1


def test_a_seed_is_sorted_and_numbering_goes_on() -> None:
    log = History(10)
    log.seed([Notification(20, 1, "b"), Notification(10, 1, "a")])
    assert messages(log) == ["a", "b"]
    assert log.head == 2
    assert log.append("c", 0.0).id == 21


def test_a_seed_never_turns_the_numbering_back() -> None:
    log = History(10)
    last = log.append("a", NOW).id
    log.expire(NOW + 1)
    log.seed([Notification(5, 1, "old")])
    assert log.append("b", 0.0).id == last + 1


def test_only_an_empty_log_can_be_seeded() -> None:
    log = History(10)
    log.append("a", NOW)
    with pytest.raises(ValueError, match="empty"):
        log.seed([Notification(5, 1, "old")])


def test_a_seed_is_bounded_like_everything() -> None:
    log = History(2)
    log.seed(Notification(number, 1, f"m{number}") for number in range(5))
    assert messages(log) == ["m3", "m4"]
    assert (log.first, log.head) == (3, 5)


def test_bytes_are_counted_as_utf_8_and_the_newest_stays_however_big_it_is() -> None:
    log = History(10, max_bytes=8)
    log.append("éé", NOW)
    log.append("éé", NOW)
    assert messages(log) == ["éé", "éé"]
    log.append("x", NOW)
    assert messages(log) == ["éé", "x"]
    log.append("x" * 100, NOW)
    assert messages(log) == ["x" * 100]


def test_a_position_that_is_no_longer_retained_is_an_error() -> None:
    log = History(1)
    log.append("a", NOW)
    log.append("b", NOW)
    with pytest.raises(LookupError, match="position 0"):
        log.between(0, 100)


def test_a_batch_is_bounded_but_has_one_at_least() -> None:
    log = History(10)
    for message in ("aaaa", "bb", "cc", "d"):
        log.append(message, NOW)
    assert [each.message for each in log.between(0, 3)] == ["aaaa"]
    assert [each.message for each in log.between(1, 4)] == ["bb", "cc"]
    assert [each.message for each in log.between(1, 5)] == ["bb", "cc", "d"]
    assert log.between(4, 5) == []


@dataclass
class Model:
    """Everything that was ever appended, and how much of it is gone."""

    everything: list[Notification] = field(default_factory=list)
    gone: int = 0

    @property
    def retained(self) -> list[Notification]:
        return self.everything[self.gone :]


class LogAgainstModel(RuleBasedStateMachine):
    """Appending, expiring and reading in any order, with a clock that steps about."""

    @initialize(
        limit=st.integers(1, 6),
        max_bytes=st.integers(1, 30),
        seed=st.lists(st.tuples(st.integers(1, 50), st.text(max_size=5)), max_size=8),
        complete_since=st.integers(0, 60),
    )
    def start(
        self, limit: int, max_bytes: int, seed: list[tuple[int, str]], complete_since: int
    ) -> None:
        """`complete_since` is above the seed if an earlier process did not stop cleanly."""
        self.limit, self.max_bytes, self.complete_since = limit, max_bytes, complete_since
        self.log, self.model, self.now = (
            History(limit, max_bytes, complete_since=complete_since),
            Model(),
            0.0,
        )
        unique = {id: Notification(id, 0, message) for id, message in seed}
        self.log.seed(unique.values())
        self.model.everything = [unique[id] for id in sorted(unique)]
        self.evict()

    def evict(self) -> None:
        def size() -> int:
            return sum(len(each.message.encode()) for each in self.model.retained)

        while len(self.model.retained) > self.limit or (
            size() > self.max_bytes and len(self.model.retained) > 1
        ):
            self.model.gone += 1

    @rule(message=st.text(max_size=12), step=st.sampled_from([0, 0, 0.001, 1, -1, 60, -60]))
    def append(self, message: str, step: float) -> None:
        self.now = max(0.0, self.now + step)
        last = max([self.complete_since, *(each.id for each in self.model.everything[-1:])])
        added = self.log.append(message, self.now)
        assert added.id == max(int(self.now * 1_000_000), last + 1)
        assert (added.time, added.message) == (int(self.now * 1000), message)
        self.model.everything.append(added)
        self.evict()

    @rule(age=st.sampled_from([0, 1, 30, 100]))
    def expire(self, age: float) -> None:
        oldest = self.now - age
        self.log.expire(oldest)
        while self.model.retained and self.model.retained[0].time < oldest * 1000:
            self.model.gone += 1

    @rule(back=st.integers(0, 8), max_bytes=st.integers(1, 40))
    def read(self, back: int, max_bytes: int) -> None:
        cursor = len(self.model.everything) - back
        if cursor < self.model.gone:
            return
        found = self.log.between(cursor, max_bytes)
        assert found == self.model.everything[cursor : cursor + len(found)]
        sizes = [len(each.message.encode()) for each in found]
        assert sum(sizes) <= max_bytes or len(found) == 1
        following = self.model.everything[cursor + len(found) : cursor + len(found) + 1]
        for each in following:
            assert sum(sizes) + len(each.message.encode()) > max_bytes
            assert found

    @rule(at=st.integers(0, 30), off=st.sampled_from([0, 0, 0, -1, 1, 10**15]))
    def since(self, at: int, off: int) -> None:
        """Complete exactly where the id is known, and nothing that came after it is gone."""
        ids = [self.complete_since, *(each.id for each in self.model.everything)]
        id = ids[at % len(ids)] + off
        position, complete = self.log.after(id)
        assert self.log.between(position, 1 << 30) == [
            each for each in self.model.retained if each.id > id
        ]
        gone = self.model.everything[: self.model.gone]
        assert complete == (
            id in ids and id >= self.complete_since and not any(each.id > id for each in gone)
        )

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "log"):
            assert self.log.first == self.model.gone
            assert self.log.head == len(self.model.everything)
            assert self.log.between(self.log.first, 1 << 30) == self.model.retained


TestLogAgainstModel = LogAgainstModel.TestCase


@given(st.lists(st.floats(0, 2_000_000_000), min_size=1, max_size=50))
def test_ids_increase_strictly_whatever_the_clock_does(times: list[float]) -> None:
    log = History(3)
    ids = [log.append("x", now).id for now in times]
    assert ids == sorted(set(ids))
    assert ids[-1] < 2**53
