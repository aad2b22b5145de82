"""JSON frames, read as values."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from aionotify import encoders, notification
from aionotify.client.events import (
    Authorized,
    Error,
    Event,
    Gap,
    Notification,
    Subscribed,
    parse,
)

NOTIFICATION = {
    "type": "notification",
    "id": "1763884800000000",
    "time": "2026-11-23T08:00:00.123Z",
    "topic": "main",
    "message": "Hello",
}
HELLO_TIME = NOTIFICATION["time"]
FIELDS: dict[str, Any] = {"title": "T", "url": "/a", "tag": "t", "data": {"a": [None, 1]}}
HELLO = Notification(
    "1763884800000000", datetime(2026, 11, 23, 8, 0, 0, 123000, UTC), "main", "Hello"
)


@pytest.mark.parametrize(
    ("frame", "value"),
    [
        (NOTIFICATION, HELLO),
        ({"type": "gap", "missed": 17, "id": "5"}, Gap(17, "5")),
        ({"type": "gap", "missed": None, "id": "5"}, Gap(None, "5")),
        ({"type": "subscribed", "topics": ["main"], "id": "0"}, Subscribed("0")),
        ({"type": "accepted", "id": "5"}, None),
        ({"type": "error", "detail": "No."}, Error("No.")),
        ({"type": "subscribed", "id": "0", "expires": HELLO_TIME}, Subscribed("0", HELLO.time)),
        ({"type": "authorized", "expires": HELLO_TIME}, Authorized(HELLO.time)),
        ({"type": "authorized"}, Authorized(None)),
        ({**NOTIFICATION, **FIELDS}, replace(HELLO, **FIELDS)),
        ({**NOTIFICATION, "title": "", "data": None}, replace(HELLO, title="")),
        ({"type": "of a newer server"}, None),
        ({**NOTIFICATION, "of a newer server": {}}, HELLO),
        ({"type": "gap", "missed": 17, "id": "5", "of a newer server": []}, Gap(17, "5")),
    ],
)
def test_frame_is_parsed(frame: object, value: Event | None) -> None:
    assert parse(json.dumps(frame)) == value


@pytest.mark.parametrize("recent", [True, False])
def test_frame_of_our_encoder_is_parsed(recent: bool) -> None:
    sent = notification.Notification(7, 1763884800123, "é 😀\n\x00\u2028", "a.b_c-d")
    parsed = parse(encoders.to_json(sent, recent=recent).decode())
    assert isinstance(parsed, Notification)
    assert (parsed.id, parsed.message, parsed.topic) == ("7", sent.message, sent.topic)
    assert parsed.time.timestamp() * 1000 == sent.time
    assert parsed.time.tzinfo is UTC
    assert parsed.recent is recent


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[Notification] Hello",
        "null",
        "[]",
        "{}",
        '{"type":7}',
        '{"type":"gap","missed":1}',
        '{"type":"gap","missed":"many","id":"5"}',
        '{"type":"subscribed"}',
        '{"type":"subscribed","id":"5","expires":1763884800}',
        '{"type":"subscribed","id":"5","expires":"2026-11-23T08:00:00"}',
        '{"type":"authorized","expires":"soon"}',
        '{"type":"error"}',
        json.dumps({**NOTIFICATION, "title": 5}),
        json.dumps({**NOTIFICATION, "url": ["/"]}),
        json.dumps({**NOTIFICATION, "tag": False}),
        json.dumps({**NOTIFICATION, "id": 5}),
        json.dumps({**NOTIFICATION, "time": "yesterday"}),
        json.dumps({**NOTIFICATION, "message": None}),
        json.dumps({"type": "notification"}),
    ],
)
def test_other_text_is_rejected(text: str) -> None:
    """A notification that cannot be read must not be passed over in silence."""
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_notification_with_data_can_be_in_a_set() -> None:
    """Although most JSON values cannot be hashed."""
    with_data = replace(HELLO, data={"a": []})
    assert len({HELLO, with_data, replace(with_data)}) == 2
