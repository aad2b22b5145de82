"""The history of a topic, compared with a plain model."""

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aionotify.history import COMPACT_AFTER, ENTRY_OVERHEAD, Budget, History, Recent, Snapshot
from aionotify.ids import IdSource
from aionotify.notification import Notification
from tests.support.builders import NOW, append


def messages(history: History) -> list[str]:
    """Return every retained message."""
    return [each.message for each in history.between(history.first, 1 << 30)]


def recents(history: History, count: int = 5) -> list[str]:
    """Return the recent messages, none of them expired."""
    return [each.notification.message for each in history.recent(count, -1)]


def stored(*ids: int) -> list[Recent]:
    """Return notifications that another process has stored; their messages are their ids."""
    return [Recent(id, Notification(id, 0, str(id))) for id in ids]


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


def test_budget_counts_all_histories() -> None:
    budget, ids = Budget(1000), IdSource()
    one, two = History(2, budget=budget), History(9, budget=budget)
    for _ in range(3):
        append(one, "xx", ids)
    two.learn(stored(5, 6, 7), 5, 0)
    append(two, "yyy", ids)
    two.learn(stored(3), 5, 0)
    assert budget.used == 2 * 2 + 3 + 3 + 1 + ENTRY_OVERHEAD * 7
    two.expire(1)
    assert budget.used == 2 * 2 + 3 + ENTRY_OVERHEAD * 3
    one.discard()
    assert budget.used == 3 + ENTRY_OVERHEAD


def test_snapshot_ends_at_its_position() -> None:
    notifications = [each.notification for each in stored(1, 2, 3)]
    snapshot = Snapshot(notifications, 7)
    assert snapshot.first == 4
    assert snapshot.between(4, 2) == notifications[:2]
    assert snapshot.between(6, 0) == notifications[2:]
    assert snapshot.between(7, 100) == []


# ---------------------------------------------------------------------- what other processes stored


def test_learned_notifications_can_be_resumed_from() -> None:
    """The ones that an earlier process has left are the oldest entries, whenever they are read."""
    history, ids = History(10, complete_since=30), IdSource()
    own = append(history, "own", ids)
    history.learn(stored(20, 30, 10), 5, 5)
    assert messages(history) == ["10", "20", "30", "own"]
    assert history.after(10) == (history.first + 1, True)
    assert history.after(5) == (history.first, True)
    assert history.after(4) == (history.first, False)
    assert history.last_id == own.id


def test_learning_keeps_an_unknown_past_unknown() -> None:
    """After a crash, the stored ones are shown, but anything may be missing between them."""
    history = History(10, complete_since=100)
    history.learn(stored(10, 20), 5, 5)
    assert recents(history) == ["10", "20"]
    assert not history.after(10)[1]
    assert not history.after(20)[1]
    assert history.after(100)[1]


def test_learning_something_newer_makes_the_past_incomplete() -> None:
    """Another server has stored more than was known when the earlier process stopped."""
    history = History(10, complete_since=20)
    history.learn(stored(10, 20, 30), 5, 5)
    assert [history.after(id)[1] for id in (10, 20, 30)] == [False, False, True]


def test_foreign_notification_is_recent_and_a_gap() -> None:
    history, ids = History(10), IdSource()
    first = append(history, "first", ids)
    foreign = Recent(first.id + 1, Notification(first.id + 1, first.time, "foreign"))
    ids.advance(foreign.rank)
    last = append(history, "last", ids)
    history.learn([foreign], 5, 0)
    assert recents(history) == ["first", "foreign", "last"]
    assert messages(history) == ["first", "last"]
    assert not history.after(first.id)[1]
    assert history.after(foreign.rank)[1]
    assert history.after(last.id)[1]
    assert history.complete_before(history.recent(5, 0)) == foreign.rank


def test_known_notifications_are_not_foreign() -> None:
    history, ids = History(10), IdSource()
    own = [append(history, str(number), ids) for number in range(3)]
    history.learn([Recent(each.id, each) for each in own], 5, own[-1].id)
    assert recents(history) == ["0", "1", "2"]
    assert history.complete_since == 0


def test_one_id_on_two_servers_is_two_notifications() -> None:
    """Two servers may publish within one microsecond; all show them in the same order."""
    for own, foreign in (("a", "b"), ("b", "a")):
        history, ids = History(10), IdSource()
        published = append(history, own, ids)
        other = Notification(published.id, published.time, foreign)
        history.learn([Recent(other.id, other)], 5, 0)
        assert recents(history) == ["a", "b"]


def test_outranking_makes_own_the_newest() -> None:
    """Another server's clock is ahead: by their ids, its notifications would be newer."""
    history, ids = History(10), IdSource()
    old = append(history, "old", ids)
    new = [append(history, message, ids) for message in ("new", "newer")]
    ahead = Notification(new[1].id + 5_000_000, new[1].time, "ahead")
    history.learn([Recent(ahead.id, ahead)], 5, 0)
    assert recents(history) == ["old", "new", "newer", "ahead"]
    history.outrank(ahead.id, old.id)
    assert recents(history) == ["old", "ahead", "new", "newer"]
    assert [each.rank for each in history.recent(2, 0)] == [ahead.id + 1, ahead.id + 2]


def test_foreign_notifications_are_bounded_and_expire() -> None:
    history, ids = History(10), IdSource()
    append(history, "own", ids)
    history.expire(NOW * 1000 + 1)
    assert history.empty
    history.learn(stored(*range(1, 9)), 5, 0)
    assert recents(history) == ["4", "5", "6", "7", "8"]
    assert not history.empty
    history.expire(1)
    assert history.empty
    assert recents(history) == []


def test_evicted_notifications_do_not_come_back_as_entries() -> None:
    history, ids = History(2), IdSource()
    own = [append(history, str(number), ids) for number in range(3)]
    history.learn([Recent(each.id, each) for each in own], 5, 0)
    assert messages(history) == ["1", "2"]
    assert recents(history) == ["0", "1", "2"]
    assert history.complete_since == own[0].id


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
