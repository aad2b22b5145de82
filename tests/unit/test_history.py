"""The history of a topic, compared with a plain model."""

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aionotify.history import COMPACT_AFTER, History
from aionotify.ids import IdSource
from aionotify.notification import Notification
from tests.support.builders import append


def messages(history: History) -> list[str]:
    """Return every retained message."""
    return [each.message for each in history.between(history.first, 1 << 30)]


# ------------------------------------------------------------------------------- bounds, positions


def test_byte_limit_keeps_newest() -> None:
    """Bytes are counted as UTF-8, and the newest notification stays however long it is."""
    history, ids = History(10, max_bytes=8), IdSource()
    append(history, "éé", ids)
    append(history, "éé", ids)
    assert messages(history) == ["éé", "éé"]
    append(history, "x", ids)
    assert messages(history) == ["éé", "x"]
    append(history, "x" * 100, ids)
    assert messages(history) == ["x" * 100]


def test_evicted_position_is_an_error() -> None:
    history, ids = History(1), IdSource()
    append(history, "a", ids)
    append(history, "b", ids)
    with pytest.raises(LookupError, match="position 0"):
        history.between(0, 100)


def test_batch_is_bounded() -> None:
    """It has one notification at least, also if that is longer than the limit."""
    history, ids = History(10), IdSource()
    for message in ("aaaa", "bb", "cc", "d"):
        append(history, message, ids)
    assert [each.message for each in history.between(0, 3)] == ["aaaa"]
    assert [each.message for each in history.between(1, 4)] == ["bb", "cc"]
    assert [each.message for each in history.between(1, 5)] == ["bb", "cc", "d"]
    assert history.between(4, 5) == []


def test_dropped_entries_are_freed() -> None:
    """Their places in the lists may stay for a while, their messages may not."""
    history, ids = History(2), IdSource()
    for number in range(COMPACT_AFTER * 3):
        append(history, f"{number}", ids)
        assert sum(each.message != "" for each in history._entries) <= 2
    assert len(history._entries) <= COMPACT_AFTER * 2 + 2


def test_backlog_is_half_of_the_history() -> None:
    """Half of the count, or half of the bytes, whichever comes first."""
    history, ids = History(10, max_bytes=100), IdSource()
    for _ in range(4):
        append(history, "x", ids)
    assert not history.backlogged(0, 0)
    append(history, "x", ids)
    assert history.backlogged(0, 0)
    assert not history.backlogged(history.head, history.total_bytes)
    position, total = history.head, history.total_bytes
    append(history, "x" * 49, ids)
    assert not history.backlogged(position, total)
    append(history, "x", ids)
    assert history.backlogged(position, total)


# -------------------------------------------------------------------------------- against a model


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
        complete_since=st.integers(0, 60),
    )
    def start(self, limit: int, max_bytes: int, complete_since: int) -> None:
        self.limit, self.max_bytes, self.complete_since = limit, max_bytes, complete_since
        self.history = History(limit, max_bytes, complete_since=complete_since)
        self.ids, self.model, self.now = IdSource(), Model(), 0.0
        self.ids.advance(complete_since)

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
        self.model.everything.append(append(self.history, message, self.ids, self.now))
        self.evict()

    @rule(age=st.sampled_from([0, 1, 30, 100]))
    def expire(self, age: float) -> None:
        oldest = (self.now - age) * 1000
        self.history.expire(oldest)
        while self.model.retained and self.model.retained[0].time < oldest:
            self.model.dropped += 1

    @rule()
    def evict_oldest(self) -> None:
        if self.model.retained:
            assert self.history.oldest_id == self.model.retained[0].id
            self.history.evict_oldest()
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

    @rule(count=st.integers(1, 8), age=st.sampled_from([0, 1, 30, 1000]))
    def recent(self, count: int, age: float) -> None:
        oldest = (self.now - age) * 1000
        wanted = [each for each in self.model.retained[-count:] if each.time > oldest]
        found = self.history.recent(count, oldest)
        assert [each.notification for each in found] == wanted

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
            assert len(self.history) == len(self.model.retained)
            assert self.history.between(self.history.first, 1 << 30) == self.model.retained
            last = [self.complete_since, *(each.id for each in self.model.everything)][-1]
            assert self.history.last_id == last


TestHistoryAgainstModel = HistoryAgainstModel.TestCase
