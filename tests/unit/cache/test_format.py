"""The value that stands for a topic's recents in memcached."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.cache.format import MAX_AHEAD, MAX_VALUE, Recents, decode, encode
from aionotify.notification import Notification

NOW = 1_795_500_000
ID = NOW * 1_000_000


def note(number: int, message: str = "", age: float = 0) -> Notification:
    """A notification whose id increases with `number`."""
    return Notification(ID + number, int((NOW - age) * 1000), message or f"m{number}")


NOTES = st.lists(
    st.builds(
        note,
        st.integers(-1000, 1000),
        st.text(st.characters(codec="utf-8"), max_size=20),
        st.integers(0, 100),
    ),
    max_size=20,
    unique_by=lambda each: each.id,
)


@given(NOTES, st.integers(0, ID), st.booleans())
def test_what_is_encoded_is_decoded(notes: list[Notification], floor: int, sealed: bool) -> None:
    recents = Recents(sorted(notes, key=lambda each: each.id), floor)
    again = decode(encode(recents, clean_shutdown=sealed), "main", NOW)
    assert again == Recents(recents.notifications, floor, sealed)


def test_the_value_is_json_that_anybody_can_read() -> None:
    value = encode(Recents([note(1, "é")], 7), clean_shutdown=True)
    assert json.loads(value) == {
        "floor": 7,
        "sealed": True,
        "notifications": [{"id": ID + 1, "time": NOW * 1000, "message": "é"}],
    }


def test_a_value_from_before_there_were_seals_is_read_and_has_none() -> None:
    value = b'{"notifications":[{"id":1,"time":1,"message":"x"}]}'
    assert decode(value, "t", NOW) == Recents([Notification(1, 1, "x", "t")], 0, False)


@pytest.mark.parametrize(
    "value",
    [
        *(b'{"floor":-1,"notifications":[]}', b'{"floor":1.5,"notifications":[]}'),
        *(b'{"floor":true,"notifications":[]}', b'{"floor":"1","notifications":[]}'),
        *(b'{"sealed":1,"notifications":[]}', b'{"sealed":null,"notifications":[]}'),
        b'{"floor":%d,"notifications":[]}' % ((NOW + MAX_AHEAD + 1) * 1_000_000),
        b'{"notifications":[{"id":1,"time":%d,"message":"x"}]}' % 2**52,
    ],
)
def test_what_makes_no_sense_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"a floor or a seal|out of range"):
        decode(value, "main", NOW)


def test_what_does_not_fit_raises_the_floor() -> None:
    """Where the oldest are left out, it must not look as if nothing were missing."""
    notes = [note(number, "x" * 300_000) for number in range(5)]
    value = encode(Recents(notes, 3), clean_shutdown=True)
    assert len(value) <= MAX_VALUE
    again = decode(value, "main", NOW)
    assert again.notifications == notes[2:]
    assert again.complete_since == notes[1].id


def test_one_that_is_too_big_is_tried_all_the_same() -> None:
    value = encode(Recents([note(1), note(2, "x" * 2 * MAX_VALUE)]), clean_shutdown=False)
    assert decode(value, "main", NOW).notifications == [note(2, "x" * 2 * MAX_VALUE)]


@given(NOTES, NOTES, st.integers(1, 6))
def test_the_floor_is_the_newest_that_was_dropped(
    one: list[Notification], two: list[Notification], limit: int
) -> None:
    recents = Recents()
    oldest = (NOW - 50) * 1000
    recents.learn(one, limit, oldest)
    recents.learn(two, limit, oldest)
    union = {*one, *two}
    fresh = sorted((e for e in union if e.time > oldest), key=lambda e: (e.id, e.message))
    assert recents.notifications == fresh[-limit:]
    dropped = [each.id for each in union if each not in recents.notifications]
    assert recents.complete_since == max(dropped, default=0)
