"""A batch of notifications as the bytes that layer 1 sends."""

from aionotify.notification import Notification
from aionotify.wire import TEXT


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
