"""Recent notifications: their order, and a fixed list of them."""

from aionotify.notification import Notification
from aionotify.recents import Recent, Snapshot, by_rank, total_size


def stored(*ids: int) -> list[Recent]:
    """Return notifications whose messages are their ids."""
    return [Recent(id, Notification(id, 0, str(id))) for id in ids]


def test_snapshot_ends_at_its_position() -> None:
    notifications = [each.notification for each in stored(1, 2, 3)]
    snapshot = Snapshot(notifications, 7)
    assert snapshot.first == 4
    assert snapshot.between(4, 2) == notifications[:2]
    assert snapshot.between(6, 0) == notifications[2:]
    assert snapshot.between(7, 100) == []


def test_order_is_by_rank_then_text() -> None:
    one, two = Notification(9, 0, "b"), Notification(5, 0, "é")
    recents = [Recent(9, one), Recent(9, two), Recent(9, Notification(9, 0, "a")), Recent(7, one)]
    ordered = sorted(recents, key=by_rank)
    assert [each.notification.message for each in ordered] == ["b", "a", "b", "é"]
    assert total_size(recents) == 1 + 2 + 1 + 1
