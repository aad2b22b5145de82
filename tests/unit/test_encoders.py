"""Notifications encoded for each client format, compared byte for byte."""

import dataclasses

from aionotify.encoders import (
    CHUNKED_EVENT_STREAM,
    EVENT_STREAM,
    JSON,
    TEXT,
    Encoder,
    ReplayEncoder,
    to_json,
)
from aionotify.notification import Notification

HELLO = Notification(1763884800000000, 1763884800000, 'Hé "x"\n', "a.b")
OBJECT = (
    '{"type":"notification","id":"1763884800000000","time":"2025-11-23T08:00:00.000Z",'
    '"topic":"a.b","message":"Hé \\"x\\"\\n"'
)
"""The JSON object of `HELLO`, without the closing brace."""


def note(message: str) -> Notification:
    """Return a notification for the text format, which has the message only."""
    return Notification(1, 1, message)


# ------------------------------------------------------------------------------------------ text


def test_text_encodes_notification() -> None:
    assert TEXT.encode([note("Hello")]) == b"\x81\x14[Notification] Hello"


def test_text_encodes_recent_notification() -> None:
    assert TEXT.encode([note("Hello")], recent=True) == b"\x81\x0e[Recent] Hello"


def test_text_batch_is_oldest_first() -> None:
    batch = TEXT.encode([note("a"), note("b")])
    assert batch == b"\x81\x10[Notification] a\x81\x10[Notification] b"
    assert (
        TEXT.encode([note("a"), note("b")], recent=True) == b"\x81\x0a[Recent] a\x81\x0a[Recent] b"
    )


def test_empty_batch_is_no_bytes() -> None:
    assert TEXT.encode([]) == b""
    assert TEXT.encode([], recent=True) == b""


def test_text_keeps_unicode_and_line_breaks() -> None:
    """The frame's length counts bytes, not characters."""
    assert (
        TEXT.encode([note("é\n😀")], recent=True) == b"\x81\x10[Recent] \xc3\xa9\n\xf0\x9f\x98\x80"
    )


def test_long_text_extends_frame_header() -> None:
    """From 126 bytes on, the length takes two more bytes."""
    assert TEXT.encode([note("x" * 117)], recent=True) == b"\x81\x7e\x00\x7e[Recent] " + b"x" * 117
    assert TEXT.encode([note("x" * 116)], recent=True) == b"\x81\x7d[Recent] " + b"x" * 116


# ------------------------------------------------------------------------------- JSON and events


def test_json_object_of_notification() -> None:
    assert to_json(HELLO) == (OBJECT + "}").encode()
    assert to_json(HELLO, recent=True) == (OBJECT + ',"recent":true}').encode()


def test_json_object_has_fields_before_recent() -> None:
    fields = b',"title":"T","data":null'
    full = dataclasses.replace(HELLO, fields=fields)
    assert to_json(full) == OBJECT.encode() + fields + b"}"
    assert to_json(full, recent=True) == OBJECT.encode() + fields + b',"recent":true}'
    assert TEXT.encode([full]) == TEXT.encode([HELLO])


def test_json_time_has_exact_milliseconds() -> None:
    for time in (0, 1, 999, 1763884800007, 1763884799999, 4102444800123):
        assert b".%03dZ" % (time % 1000) in to_json(Notification(1, time, "x"))


def test_json_encodes_frames() -> None:
    live, recent = (OBJECT + "}").encode(), (OBJECT + ',"recent":true}').encode()
    assert JSON.encode([HELLO]) == b"\x81%c" % len(live) + live
    assert JSON.encode([HELLO], recent=True) == b"\x81\x7e\x00%c" % len(recent) + recent
    assert JSON.gap(17, 5) == b'\x81\x23{"type":"gap","missed":17,"id":"5"}'
    assert JSON.gap(None, 5) == b'\x81\x25{"type":"gap","missed":null,"id":"5"}'
    position = b'{"type":"subscribed","topics":["a.b"],"id":"7"}'
    assert JSON.subscribed(["a.b"], 7) == b"\x81\x2f" + position


def test_event_stream_encodes_events() -> None:
    live, recent = (OBJECT + "}").encode(), (OBJECT + ',"recent":true}').encode()
    assert EVENT_STREAM.encode([HELLO, HELLO]) == b"id: 1763884800000000\ndata: %b\n\n" % live * 2
    assert (
        EVENT_STREAM.encode([HELLO], recent=True) == b"id: 1763884800000000\ndata: %b\n\n" % recent
    )
    gap = b'event: gap\nid: 5\ndata: {"type":"gap","missed":17,"id":"5"}\n\n'
    assert EVENT_STREAM.gap(17, 5) == gap
    position = b'{"type":"subscribed","topics":["a.b"],"id":"7"}'
    subscribed = b"event: subscribed\nid: 7\ndata: " + position + b"\n\n"
    assert EVENT_STREAM.subscribed(["a.b"], 7) == subscribed


def test_chunked_stream_has_chunk_per_batch() -> None:
    """One chunk around all events of a batch, which a client may take for one line at a time."""
    events = EVENT_STREAM.encode([HELLO, HELLO])
    assert CHUNKED_EVENT_STREAM.encode([HELLO, HELLO]) == b"%x\r\n%b\r\n" % (len(events), events)
    gap = EVENT_STREAM.gap(17, 5)
    assert CHUNKED_EVENT_STREAM.gap(17, 5) == b"%x\r\n%b\r\n" % (len(gap), gap)
    subscribed = EVENT_STREAM.subscribed(["main"], 5)
    wanted = b"%x\r\n%b\r\n" % (len(subscribed), subscribed)
    assert CHUNKED_EVENT_STREAM.subscribed(["main"], 5) == wanted


def test_empty_batch_is_no_chunk() -> None:
    """An empty chunk would end the stream."""
    assert CHUNKED_EVENT_STREAM.encode([]) == b""


def test_text_has_no_gap() -> None:
    encoder: Encoder = TEXT
    assert encoder.gap(17, 5) is None
    assert encoder.subscribed(["main"], 7) == b""


def test_replay_marks_recent_until_its_end() -> None:
    replay = ReplayEncoder(EVENT_STREAM, 5, ("main",), 70)
    assert replay.encode([HELLO]) == EVENT_STREAM.encode([HELLO], recent=True)
    assert replay.gap(1, 60) == EVENT_STREAM.gap(1, 60)
    assert replay.caught_up() == EVENT_STREAM.subscribed(["main"], 70)
    assert replay.caught_up(80) == EVENT_STREAM.subscribed(["main"], 80)
    assert EVENT_STREAM.caught_up() == b""
    assert replay.opening(0) == EVENT_STREAM.opening(0) == b""
    assert replay.at_position(4) is replay
    assert replay.at_position(5) is EVENT_STREAM
    assert EVENT_STREAM.at_position(99) is EVENT_STREAM
    assert replay == ReplayEncoder(EVENT_STREAM, 5, ("main",), 70)


def test_replay_opens_with_gap() -> None:
    """The gap comes once, before the first notification."""
    gap = EVENT_STREAM.gap(None, 60)
    replay = ReplayEncoder(EVENT_STREAM, 5, ("main",), 70, start=2, gap_before=gap)
    assert (replay.opening(2), replay.opening(3)) == (gap, b"")
