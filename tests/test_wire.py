"""A batch of notifications as the bytes that a client is sent."""

from aionotify.notification import Notification
from aionotify.wire import JSON, SSE, TEXT, Encoding, Replay, to_json


def note(message: str) -> Notification:
    """Only the message counts on this wire."""
    return Notification(1, 1, message)


def test_a_notification_is_a_text_frame() -> None:
    assert TEXT.notifications([note("Hello")]) == b"\x81\x14[Notification] Hello"


def test_a_recent_is_a_text_frame() -> None:
    assert TEXT.recents([note("Hello")]) == b"\x81\x0e[Recent] Hello"


def test_a_batch_is_one_frame_for_each_oldest_first() -> None:
    batch = TEXT.notifications([note("a"), note("b")])
    assert batch == b"\x81\x10[Notification] a\x81\x10[Notification] b"
    assert TEXT.recents([note("a"), note("b")]) == b"\x81\x0a[Recent] a\x81\x0a[Recent] b"


def test_nothing_is_no_bytes() -> None:
    assert TEXT.notifications([]) == b""
    assert TEXT.recents([]) == b""


def test_any_unicode_and_line_breaks_are_kept_and_counted_in_bytes() -> None:
    assert TEXT.recents([note("é\n😀")]) == b"\x81\x10[Recent] \xc3\xa9\n\xf0\x9f\x98\x80"


def test_a_long_message_has_a_longer_head() -> None:
    assert TEXT.recents([note("x" * 117)]) == b"\x81\x7e\x00\x7e[Recent] " + b"x" * 117
    assert TEXT.recents([note("x" * 116)]) == b"\x81\x7d[Recent] " + b"x" * 116


# ------------------------------------------------------------------------------- JSON and events

HELLO = Notification(1763884800000000, 1763884800000, 'Hé "x"\n', "a.b")
OBJECT = (
    '{"type":"notification","id":"1763884800000000","time":"2025-11-23T08:00:00.000Z",'
    '"topic":"a.b","message":"Hé \\"x\\"\\n"'
)


def test_the_object_is_the_same_everywhere() -> None:
    assert to_json(HELLO) == (OBJECT + "}").encode()
    assert to_json(HELLO, recent=True) == (OBJECT + ',"recent":true}').encode()


def test_milliseconds_are_exact() -> None:
    for time in (0, 1, 999, 1763884800007, 1763884799999, 4102444800123):
        assert b".%03dZ" % (time % 1000) in to_json(Notification(1, time, "x"))


def test_json_frames() -> None:
    live, recent = (OBJECT + "}").encode(), (OBJECT + ',"recent":true}').encode()
    assert JSON.notifications([HELLO]) == b"\x81%c" % len(live) + live
    assert JSON.recents([HELLO]) == b"\x81\x7e\x00%c" % len(recent) + recent
    assert JSON.gap(17) == b'\x81\x1a{"type":"gap","missed":17}'
    assert JSON.gap(None) == b'\x81\x1c{"type":"gap","missed":null}'


def test_events() -> None:
    live, recent = (OBJECT + "}").encode(), (OBJECT + ',"recent":true}').encode()
    assert SSE.notifications([HELLO, HELLO]) == b"id: 1763884800000000\ndata: %b\n\n" % live * 2
    assert SSE.recents([HELLO]) == b"id: 1763884800000000\ndata: %b\n\n" % recent
    assert SSE.gap(17) == b'event: gap\ndata: {"type":"gap","missed":17}\n\n'


def test_texts_cannot_tell_of_a_gap() -> None:
    encoding: Encoding = TEXT
    assert encoding.gap(17) is None


def test_a_replay_is_of_recents_until_it_is_over() -> None:
    replay = Replay(SSE, 5)
    assert replay.notifications([HELLO]) == SSE.recents([HELLO])
    assert replay.gap(1) == SSE.gap(1)
    assert replay.at(4) is replay
    assert replay.at(5) is SSE
    assert SSE.at(99) is SSE
    assert replay == Replay(SSE, 5)
