"""Text from a client as the message that it publishes; the opposite of `encoders`. Pure."""

import json
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from aionotify.errors import InvalidRequest
from aionotify.fields import FIELDS, NO_FIELDS, Fields, parse_fields
from aionotify.idempotency import KEY, KEY_FORMAT
from aionotify.notification import NAME, NAME_FORMAT
from aionotify.text import shorten

MEMBERS = ("message", *FIELDS)
"""The members that a JSON object may have."""

LINE_MEMBERS = ("topic", *MEMBERS)
"""The members that an object may have if it is a line of NDJSON."""

FRAME_MEMBERS = (*LINE_MEMBERS, "key")
"""The members that an object may have if it is a frame; a request has the key in a header."""

_ELSEWHERE = {
    "topic": "in the URL, as ?topic=NAME",
    "key": "in the header Idempotency-Key",
}
"""Where members belong in requests that do not have them in the body."""

_LINE = re.compile(r"[^ \t\r\n][^\n]*")

JSON_ESCAPE_FACTOR = 6
"""Bytes that JSON needs for one byte of a message at most: `\\u0001` for U+0001."""

JSON_ENVELOPE = 1024
"""Bytes allowed around a message: white space, and the rest of its JSON object."""


class Message(NamedTuple):
    """A message that a client asks to publish."""

    text: str
    fields: Fields = NO_FIELDS
    topic: str | None = None
    """The topic that it names."""
    key: str | None = None
    """The key by which a retry is known."""


def max_json_bytes(max_message_bytes: int) -> int:
    """Return the longest JSON text to read for a message of up to `max_message_bytes`."""
    return max_message_bytes * JSON_ESCAPE_FACTOR + JSON_ENVELOPE


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Iterate over the lines that are not empty, with their numbers, from 1.

    Line breaks are LF and CRLF (NDJSON), and not U+2028 and others, which JSON has in strings.
    """
    # Not split(): the list for a mebibyte of line breaks would stop the event loop.
    number, start = 1, 0
    for found in _LINE.finditer(text):
        number += text.count("\n", start, found.start())
        start = found.start()
        yield number, found[0]


def message_from_json(text: str, members: Collection[str] = MEMBERS) -> Message:
    """Return the message in `{"message":"…"}`, with the other `members` that the object may have.

    Raise InvalidRequest.
    """
    try:
        document = json.loads(text)
        message = document["message"]
        # JSON can escape half of a surrogate pair ("\ud800"), which has no UTF-8. Without this
        # check, encoding the notification would fail when it is already in the history.
        message.encode()
    # RecursionError: the C decoder of Python 3.11 recurses for each `[`, and 1,000 are too many.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        message = None
    if not isinstance(message, str):
        raise InvalidRequest('Expected JSON like {"message":"Hello"}, with valid Unicode.')
    if len(document) == 1:  # the usual case
        return Message(message)
    _reject_unknown(document, members)
    return Message(
        message,
        parse_fields(document),
        _text_in(document, "topic", NAME, NAME_FORMAT),
        _text_in(document, "key", KEY, KEY_FORMAT),
    )


def token_from_json(text: str) -> str | None:
    """Return the token in `{"token":"…"}`, with which a client renews its own; None: another text.

    Raises nothing: `message_from_json` says what is wrong with anything else.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.keys() != {"token"}:
        return None
    token = document["token"]
    return token if isinstance(token, str) else None


def _text_in(
    document: dict[str, object], name: str, pattern: re.Pattern[str], expected: str
) -> str | None:
    if name not in document:
        return None
    value = document[name]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        shown = shorten(value) if isinstance(value, str) else type(value).__name__
        raise InvalidRequest(f"{name}: invalid value {shown!r} (expected {expected})")
    return value


def _reject_unknown(document: dict[str, object], members: Collection[str]) -> None:
    # Not ignored: a client that misspells a member, or names a topic here, would get 201 for
    # something else than it asked for.
    for name in sorted(document.keys() - members):
        expected = _ELSEWHERE.get(name) or ", ".join(members)
        raise InvalidRequest(f"{shorten(name)!r}: unknown member (expected {expected})")
