"""The stream: subjects and topics, messages as notifications, configurations."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.broker.nats.stream import (
    Place,
    Stream,
    differences,
    fields_of,
    format_time,
    headers_of,
    parse_info,
    parse_time,
    problem_of,
)
from aionotify.fields import parse_fields
from aionotify.notification import Notification

STREAM = Stream("aionotify", 100)
TIME = "2026-11-23T08:00:00.123456789Z"
PLACE = Place(1795420800000000, 1795420800_123456789)


def headers(**more: str) -> dict[str, str]:
    """Return the headers of a stored message."""
    return {"Nats-Sequence": str(PLACE.seq), "Nats-Time-Stamp": TIME, **more}


def wanted(**values: Any) -> dict[str, Any]:
    """Return a configuration, with other values."""
    config = STREAM.config(replicas=3, per_topic=1000, ttl=3600, first_seq=5, atomic=True)
    return config | values


@pytest.mark.parametrize("topic", ["main", "user.42", "a-b_c.d.e"])
def test_subject_and_topic_round_trip(topic: str) -> None:
    subject = STREAM.subject(topic)
    assert subject.count(".") == 1
    found = STREAM.read(f"aionotify-live.{topic}", headers(**{"Nats-Subject": subject}), b"x")
    assert found.notification is not None
    assert found.notification.topic == topic


def test_message_is_a_notification() -> None:
    more = {"Nats-Subject": "aionotify.main", "Nats-Msg-Id": "k", "Aionotify-Title": '"T"'}
    found = STREAM.read("aionotify-live.main", headers(**more), b" Hello\n")
    wanted = Notification(PLACE.seq, 1795420800123, "Hello", "main")
    assert (found.place, found.notification, found.key) == (PLACE, wanted, "k")
    assert found.notification is not None
    assert found.notification.fields == b',"title":"T"'


@pytest.mark.parametrize(
    ("payload", "more"),
    [
        (b"\xff", {}),
        (b" \n", {}),
        (b"x" * 101, {}),
        (b"x", {"Aionotify-Url": "javascript:x"}),
        (b"x", {"Aionotify-Data": "{"}),
        (b"x", {"Aionotify-Data": "[" * 5000}),
        (b"x", {"Nats-Subject": "aionotify.a b"}),
    ],
)
def test_invalid_message_keeps_its_place(payload: bytes, more: dict[str, str]) -> None:
    found = STREAM.read(
        "aionotify.main", headers(**({"Nats-Subject": "aionotify.main"} | more)), payload
    )
    assert found.notification is None
    assert found.place == PLACE


@pytest.mark.parametrize("name", ["Nats-Sequence", "Nats-Time-Stamp"])
def test_message_without_place_raises(name: str) -> None:
    found = headers()
    del found[name]
    with pytest.raises(ValueError, match=name):
        STREAM.read("aionotify.main", found, b"x")


def test_fields_may_be_plain_text() -> None:
    """As `nats pub aionotify.main Hello -H 'Aionotify-Title:Hi'` sends them."""
    assert fields_of({"Aionotify-Title": "Hi", "Aionotify-Tag": "5"}).encoded == (
        b',"title":"Hi","tag":"5"'
    )


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=256),
    st.recursive(
        st.none() | st.booleans() | st.text(st.characters(exclude_categories=["Cs"])),
        lambda each: st.lists(each, max_size=3),
        max_leaves=5,
    ),
)
def test_fields_survive_headers(title: str, data: object) -> None:
    fields = parse_fields({"title": title, "data": data})
    found = headers_of(fields.encoded)
    assert all(value.isascii() and value.isprintable() for value in found.values())
    assert fields_of(found) == fields


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [(TIME, PLACE.time), ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:01.5Z", 1_500_000_000)],
)
def test_times(text: str, nanoseconds: int) -> None:
    assert parse_time(text) == nanoseconds
    assert parse_time(format_time(nanoseconds)) == nanoseconds


@pytest.mark.parametrize("text", ["", "x", "1970-01-01T00:00:00.xZ"])
def test_invalid_time_raises(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of several functions
        parse_time(text)


def test_own_stream_is_usable() -> None:
    assert problem_of(wanted(), STREAM) == ""
    assert differences(wanted(), wanted()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"republish": None}, "republish"),
        ({"republish": {"src": ">", "dest": "x"}}, "republish"),
        ({"republish": wanted()["republish"] | {"headers_only": True}}, "headers only"),
        ({"allow_direct": False}, "allow_direct"),
    ],
)
def test_unusable_stream_is_named(change: dict[str, Any], reason: str) -> None:
    assert reason in problem_of(wanted(**change), STREAM)


def test_other_limits_are_named() -> None:
    found = differences(wanted(max_age=0), wanted())
    assert found == ["max_age is 0 (expected 3600000000000)"]


def test_window_is_not_longer_than_the_age() -> None:
    config = STREAM.config(replicas=1, per_topic=5, ttl=60, first_seq=1, atomic=False)
    assert config["duplicate_window"] == config["max_age"] == 60_000_000_000
    assert "allow_atomic" not in config


def test_unexpected_info_raises() -> None:
    with pytest.raises(ValueError, match="unexpected format"):
        parse_info(json.loads('{"state":{}}'))
