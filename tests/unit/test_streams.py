"""Histories as streams in the order of ids."""

import json

from aionotify.encoders import EVENT_STREAM
from aionotify.history import History
from aionotify.ids import IdSource
from aionotify.notification import Notification
from aionotify.streams import Batch, following, gap_place, is_complete
from tests.support.builders import append


def test_id_of_any_topic_is_a_position() -> None:
    """It is complete if one topic knows it, and none has lost anything after it."""
    ids, one, two = IdSource(), History(2), History(2)
    first, second = (append(each, "x", ids, 0.0).id for each in (one, two))
    assert is_complete([one, two], first)
    assert is_complete([one, two], second)
    assert not is_complete([one, two], second + 1)
    for _ in range(3):
        append(two, "x", ids, 0.0)
    assert two.complete_since == second + 1
    assert not is_complete([one, two], second)
    assert is_complete([one, two], second + 1)


def test_gap_precedes_what_is_retained() -> None:
    """Its place is the last id that was lost, also if nothing is left."""
    ids, history = IdSource(), History(2)
    lost, first, second = (append(history, "x", ids, 0.0) for _ in range(3))
    assert [each[:2] for each in following(7, history, 0)] == [
        (lost.id, 7),
        (first.id, 7),
        (second.id, 7),
    ]
    assert [each[0] for each in following(7, history, 2)] == [second.id]
    history.expire(float("inf"))
    assert gap_place(history) == second.id
    assert [each[:3] for each in following(7, history, 2)] == [(second.id, 7, None)]


def test_batch_tells_kinds_apart() -> None:
    """Recent and live notifications are encoded apart, neighboring gaps together."""
    batch = Batch(EVENT_STREAM, 2)
    batch.add_gap(3, 1)
    batch.add_gap(None, 2)
    batch.add(Notification(2, 0, "recent"))
    batch.add(Notification(3, 0, "live"))
    batch.add_gap(1, 4)
    batch.add_gap(2, 5)
    batch.add_position(["main"], 5, 0)
    blocks = batch.finish().decode().split("\n\n")[:-1]
    events = [json.loads(each.partition("data: ")[2]) for each in blocks]
    assert [each["id"] for each in events] == ["2", "2", "3", "5", "5"]
    assert [each.get("missed") for each in events] == [None, None, None, 3, None]
    assert [each.get("recent") for each in events] == [None, True, None, None, None]
    assert events[-1]["expires"] == "1970-01-01T00:00:00.000Z"
    assert (batch.notifications, batch.gaps) == (2, 2)
