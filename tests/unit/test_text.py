"""Text for messages to users and operators."""

import pytest

from aionotify.text import MAX_SHOWN, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("x" * MAX_SHOWN, "x" * MAX_SHOWN),
        ("x" * (MAX_SHOWN + 1), "x" * MAX_SHOWN + "…"),
        ("é" * 1_000_000, "é" * MAX_SHOWN + "…"),
    ],
    ids=len,
)
def test_long_text_is_cut(text: str, shown: str) -> None:
    assert shorten(text) == shown


def test_length_can_be_chosen() -> None:
    assert (shorten("abc", 3), shorten("abcd", 3)) == ("abc", "abc…")
