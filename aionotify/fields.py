"""The optional fields of a notification: title, url, tag and data. Pure.

They have the meaning of the W3C Notifications API. They are checked and encoded once, when they are
published; from then on a notification carries them as bytes.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aionotify.errors import InvalidRequest
from aionotify.notification import NAME, NAME_FORMAT
from aionotify.text import shorten

FIELDS = ("title", "url", "tag", "data")
"""The members of a JSON object that hold the fields, in the order in which they are sent."""

MAX_TITLE = 256
"""Characters of a title."""

MAX_URL = 2048
"""Characters of a URL."""

MAX_DEPTH = 64
"""Arrays and objects inside of each other in `data`. JSON parsers of clients have limits, too, and
that of Python 3.11 depends on the stack of its caller: memcached must hold what it can read."""

# A page makes a link of it, so it must neither run a script nor look like a path and lead to
# another host. Browsers skip tabs and line breaks anywhere, skip control characters and spaces at
# both ends, and take `\` for `/`: "java\tscript:…", "/\t/host", "/\host" are not what they seem.
# `//host` is another host, with the scheme of the page; https://host says the same plainly.
_CHARACTER = r"[^\s\\\x00-\x1f\x7f-\x9f]"
_URL = re.compile(rf"(?:https?://(?![/?#]){_CHARACTER}|/(?!/)){_CHARACTER}*", re.IGNORECASE)

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Fields(NamedTuple):
    """The fields of one notification."""

    encoded: bytes
    """Members of a JSON object, to follow others: `,"title":"Hello","data":[1,2]`."""
    size: int
    """Bytes of title, url and tag in UTF-8, and of data as compact JSON."""


NO_FIELDS = Fields(b"", 0)


def parse_fields(document: Mapping[str, Any]) -> Fields:
    """Return the fields among the members of a JSON object. Raise InvalidRequest.

    A member that is absent is no field; `"data":null` is one.
    """
    encoded, size = b"", 0
    for name in FIELDS:
        if name in document:
            value = document[name]
            if not _VALID[name](value):
                raise _invalid(name, value)
            try:
                # Raises for NaN and Infinity, which json.loads accepts although they are no JSON
                # (and makes of 1e999), and for half of a surrogate pair, which is no Unicode text.
                text = _encode(value).encode()
            except ValueError:
                raise _invalid(name, value) from None
            encoded += b',"%b":%b' % (name.encode(), text)
            size += len(text if name == "data" else value.encode())
    return Fields(encoded, size) if encoded else NO_FIELDS


def _is_title(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TITLE


def _is_url(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_URL and bool(_URL.fullmatch(value))


def _is_tag(value: object) -> bool:
    return isinstance(value, str) and bool(NAME.fullmatch(value))


def _is_data(value: object) -> bool:
    """Return whether no more than `MAX_DEPTH` arrays and objects are inside of each other."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return True
        level = []
        for each in containers:
            level += each.values() if isinstance(each, dict) else each
    return False


_VALID: Mapping[str, Callable[[object], bool]] = {
    "title": _is_title,
    "url": _is_url,
    "tag": _is_tag,
    "data": _is_data,
}

_EXPECTED = {
    "title": f"Unicode text of up to {MAX_TITLE} characters",
    "url": (
        f"http://…, https://… or a path that begins with a single '/', up to {MAX_URL} characters, "
        "without white space and '\\'"
    ),
    "tag": NAME_FORMAT,
    "data": f"finite numbers, valid Unicode, and up to {MAX_DEPTH} nested arrays and objects",
}


def _invalid(name: str, value: object) -> InvalidRequest:
    if isinstance(value, str):
        shown = f"invalid value {shorten(value)!r}"
    else:
        shown = "invalid value" if name == "data" else f"invalid type {type(value).__name__}"
    return InvalidRequest(f"{name}: {shown} (expected {_EXPECTED[name]})")
