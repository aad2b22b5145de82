"""The values in memcached: recent notifications, the marker, the last ids."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.cache.format import (
    MAX_AHEAD,
    MAX_PARTS,
    MAX_VALUE,
    Stored,
    decode,
    decode_last_ids,
    decode_marker,
    encode,
    encode_last_ids,
    encode_marker,
    key,
    part_key,
)
from aionotify.notification import Notification
from aionotify.recents import Recent

NOW = 1_795_500_000
ID = NOW * 1_000_000
LATEST = (NOW + MAX_AHEAD) * 1_000_000


FIELDS = b',"title":"\xc3\xa9","url":"/x","tag":"t","data":{"a":[1,null]}'


def note(number: int, message: str = "", rank: int = 0, fields: bytes = b"") -> Recent:
    """Return a notification whose id increases with `number`, with a rank `rank` above its id."""
    id = ID + number
    message = message or f"m{number}"
    return Recent(id + rank, Notification(id, NOW * 1000, message, fields=fields))


NOTES = st.lists(
    st.builds(
        note,
        st.integers(-1000, 1000),
        st.text(st.characters(codec="utf-8"), max_size=20),
        st.integers(0, 100),
        st.sampled_from([b"", b',"data":null', FIELDS]),
    ),
    max_size=20,
    unique_by=lambda each: each.notification.id,
)


@given(NOTES, st.integers(0, ID))
def test_encoded_is_decoded(notes: list[Recent], floor: int) -> None:
    value, count = encode(notes, floor)
    assert count == len(notes)
    stored = decode(value, "main", NOW)
    assert stored == Stored(notes, floor)
    assert [each.notification.fields for each in stored.recents] == [
        each.notification.fields for each in notes
    ]


def test_fields_are_members_of_the_entry() -> None:
    """A server of an earlier version reads `id`, `time`, `message` and `rank` by their names."""
    value, _ = encode([note(1, "x", rank=5, fields=FIELDS)], 7)
    (entry,) = json.loads(value)["notifications"]
    fields = {"title": "é", "url": "/x", "tag": "t", "data": {"a": [1, None]}}
    assert entry == fields | {"id": ID + 1, "time": NOW * 1000, "message": "x", "rank": ID + 6}


@pytest.mark.parametrize(
    "field", [b'"url":"javascript:x"', b'"title":5', b'"tag":""', b'"data":NaN', b'"title":null']
)
def test_invalid_field_is_rejected(field: bytes) -> None:
    """Anything may have written the value, and a page makes a link of the URL."""
    value = b'{"notifications":[{"id":1,"time":1,"message":"x",%b}]}' % field
    with pytest.raises(ValueError, match=r"^(url|title|tag|data): invalid "):
        decode(value, "main", NOW)


def test_value_is_documented_json() -> None:
    """A rank is there where it differs from the id."""
    value, _ = encode([note(1, "é \0"), note(2, "x", rank=5)], 7)
    assert json.loads(value) == {
        "floor": 7,
        "notifications": [
            {"id": ID + 1, "time": NOW * 1000, "message": "é \0"},
            {"id": ID + 2, "time": NOW * 1000, "message": "x", "rank": ID + 7},
        ],
    }


def test_first_format_is_readable() -> None:
    """It has no floor: its author did not know after which id the list is complete."""
    value = b'{"notifications":[{"id":1,"time":1,"message":"x"}]}'
    assert decode(value, "t", NOW) == Stored([Recent(1, Notification(1, 1, "x", "t"))], 0)


@pytest.mark.parametrize(
    "value",
    [
        *(b'{"floor":-1,"notifications":[]}', b'{"floor":1.5,"notifications":[]}'),
        *(b'{"floor":true,"notifications":[]}', b'{"floor":"1","notifications":[]}'),
        *(b'{"floor":null,"notifications":[]}', b'{"floor":[],"notifications":[]}'),
        b'{"floor":%d,"notifications":[]}' % LATEST,
        b'{"notifications":[{"id":1,"time":%d,"message":"x"}]}' % 2**52,
        b'{"notifications":[{"id":%d,"time":1,"message":"x"}]}' % LATEST,
        b'{"notifications":[{"id":5,"rank":4,"time":1,"message":"x"}]}',
        b'{"notifications":[{"id":5,"rank":%d,"time":1,"message":"x"}]}' % LATEST,
        b'{"notifications":[{"id":5,"rank":6.0,"time":1,"message":"x"}]}',
        b'{"notifications":[{"id":5,"rank":null,"time":1,"message":"x"}]}',
    ],
)
def test_nonsense_is_rejected(value: bytes) -> None:
    """An entry of the wrong type, or a number out of range."""
    with pytest.raises(ValueError, match=r"invalid floor|out of range|of another type"):
        decode(value, "main", NOW)


def test_clock_of_another_server_may_be_ahead() -> None:
    value = b'{"floor":%d,"notifications":[]}' % (LATEST - 1)
    assert decode(value, "main", NOW) == Stored([], LATEST - 1)


def test_omitted_notification_raises_the_floor() -> None:
    """Where the oldest are left out, it must not look as if nothing were missing."""
    notes = [note(number, "x" * 300_000) for number in range(5)]
    value, count = encode(notes, 3)
    assert count == 3
    assert len(value) <= MAX_VALUE
    assert decode(value, "main", NOW) == Stored(notes[2:], notes[1].notification.id)


def test_floor_above_the_omitted_stays() -> None:
    notes = [note(number, "x" * 600_000) for number in range(2)]
    value, _ = encode(notes, ID + 50)
    assert decode(value, "main", NOW) == Stored(notes[1:], ID + 50)


def test_large_notification_is_tried_alone() -> None:
    """A memcached may have been configured for larger values."""
    large = note(2, "x" * 2 * MAX_VALUE)
    value, count = encode([note(1), large], 0)
    assert count == 1
    assert decode(value, "main", NOW) == Stored([large], ID + 1)


@given(NOTES, st.integers(0, 3000))
def test_value_fits(notes: list[Recent], max_bytes: int) -> None:
    """It holds the newest that fit, and nothing after its floor is missing."""
    value, count = encode(notes, 0, max_bytes)
    assert len(value) <= max_bytes or count <= 1
    stored = decode(value, "main", NOW)
    assert stored.recents == notes[len(notes) - count :]
    omitted = notes[: len(notes) - count]
    assert stored.complete_since == (omitted[-1].notification.id if omitted else 0)


def test_no_notification_is_a_value() -> None:
    value, count = encode([], 7)
    assert (decode(value, "main", NOW), count) == (Stored([], 7), 0)


def test_keys_name_topic_and_part() -> None:
    assert key("a.B_9-c") == b"aionotify:1:recent:a.B_9-c"
    assert part_key(12) == b"aionotify:1:stopped:12"


# -------------------------------------------------------------------------------------- the marker


@given(st.integers(0, LATEST - 1), st.integers(0, MAX_PARTS))
def test_marker_is_decoded(before: int, parts: int) -> None:
    assert decode_marker(encode_marker(before, parts), NOW) == (before, parts)


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"stopped", b"[]", b"null", b"5", b"\xff", b"{}", b"[" * 100_000),
        *(b'{"before":1}', b'{"parts":1}', b'{"before":"1","parts":1}'),
        *(b'{"before":1,"parts":-1}', b'{"before":1,"parts":65}', b'{"before":1,"parts":true}'),
        *(b'{"before":-1,"parts":1}', b'{"before":1.0,"parts":1}'),
        b'{"before":%d,"parts":1}' % LATEST,
    ],
)
def test_wrong_marker_is_rejected(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_marker(value, NOW)


TOPICS = st.text("abcXYZ019_.-", min_size=1, max_size=64)


@given(st.dictionaries(TOPICS, st.integers(0, LATEST - 1), max_size=20))
def test_last_ids_are_decoded(last_ids: dict[str, int]) -> None:
    parts = [decode_last_ids(each, NOW) for each in encode_last_ids(last_ids)]
    assert parts == ([last_ids] if last_ids else [])


def test_last_ids_are_split() -> None:
    """Each part fits into a value, all are needed, and the order is kept."""
    last_ids = {f"{number:064}": ID + number for number in range(30_000)}
    parts = list(encode_last_ids(last_ids))
    assert len(parts) == 3
    assert max(map(len, parts)) <= MAX_VALUE
    found = [item for part in parts for item in decode_last_ids(part, NOW).items()]
    assert found == list(last_ids.items())


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"[]", b"null", b'{"main":"1"}', b'{"main":true}', b'{"main":1.0}'),
        *(b'{"main":-1}', b'{"main":null}', b'{"main":%d}' % LATEST, b'{"main":' * 100_000),
    ],
)
def test_wrong_last_ids_are_rejected(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_last_ids(value, NOW)
