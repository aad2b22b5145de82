"""Notifications that a history learns from other processes, through memcached."""

from aionotify.history import History
from aionotify.ids import IdSource
from aionotify.notification import Notification
from aionotify.recents import Recent
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


def test_fields_are_taken_over() -> None:
    """A server of an earlier version has stored an entry without its fields, another one with."""
    fields = b',"title":"T"'
    history, ids = History(10, complete_since=30), IdSource()
    history.learn(stored(20, 30), 5, 5)
    complete = Notification(20, 0, "20", fields=fields)
    history.learn([Recent(20, complete), *stored(30)], 5, 5)
    assert [each.fields for each in history.between(history.first, 1 << 30)] == [fields, b""]
    assert history._bytes == len("2030" + ',"title":"T"')
    assert history.complete_since == 5
    own = append(history, "own", ids)
    history.learn(stored(20, 30), 5, 5)
    entries = history.between(history.first, 1 << 30)
    assert [each.fields for each in entries] == [fields, b"", b""]
    assert history.last_id == own.id


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
