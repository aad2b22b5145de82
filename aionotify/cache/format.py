"""The values in memcached, as bytes and back. Pure.

`aionotify:1:recent:<topic>` holds the recent notifications of a topic, oldest first:
`{"floor":<id>,"notifications":[{"id":…,"time":…,"message":"…"},…]}`.
An entry has the optional fields of its notification as further members: `"title":"…"` and so on.
A server of an earlier version passes over them: it shows the message, and stores it again without
them. A server that knows them stores them again, and takes them over from such a one (`History`).
`floor` is the id after which the list is complete, as far as its author knew.
An entry has a `rank` where it differs from its id.

`aionotify:1:stopped` is the clean-shutdown marker: `{"before":<id>,"parts":<n>}`.
A server leaves it when everything is written, together with `aionotify:1:stopped:<n>`, which hold
the last id of each topic: `{"main":<id>,…}`.
The next server to start removes the marker, and so does every other server that runs.

`aionotify:1:server` names the server that last checked this memcached, so that servers notice each
other.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aionotify.encoders import quote
from aionotify.errors import InvalidRequest
from aionotify.fields import parse_fields
from aionotify.notification import Notification
from aionotify.recents import Recent

MAX_VALUE = 1_000_000
"""Bytes of a value: memcached refuses more than a mebibyte unless configured otherwise."""

MAX_AHEAD = 24 * 3600
"""Seconds by which another server's clock may be ahead: ids continue after the stored ones."""

MAX_PARTS = 64
"""Values that the last ids of all topics are spread over: enough for some 600,000 topics."""

MARKER = b"aionotify:1:stopped"
PRESENCE = b"aionotify:1:server"

_VALUE = b'{"floor":%d,"notifications":[%b]}'
_ENTRY = b'{"id":%d,"time":%d,"message":%b%b%b}'
_ENVELOPE = len(_VALUE) + 20
"""Bytes of a value without its entries, at most."""


class Stored(NamedTuple):
    """The recent notifications of a topic in memcached, complete since an id."""

    recents: list[Recent]
    complete_since: int


class Legacy(NamedTuple):
    """The legacy of a server that stopped cleanly: the arguments of `ForgottenTopics.restore`."""

    before: int
    last_ids: dict[str, int]


def key(topic: str) -> bytes:
    """Return the key of the recent notifications of `topic`."""
    return b"aionotify:1:recent:" + topic.encode()


def part_key(number: int) -> bytes:
    """Return the key of the last ids, part `number`."""
    return MARKER + b":%d" % number


def encode(
    recents: Sequence[Recent], complete_since: int, max_bytes: int = MAX_VALUE
) -> tuple[bytes, int]:
    """Encode the newest of `recents` that fit into `max_bytes`, at least one.

    Returns the value, and how many notifications are in it.
    """
    entries: list[bytes] = []
    size = _ENVELOPE
    for recent in reversed(recents):
        encoded = _encode_entry(recent)
        size += len(encoded) + 1
        if entries and size > max_bytes:
            complete_since = max(complete_since, recent.notification.id)
            break
        entries.append(encoded)
    return _VALUE % (complete_since, b",".join(reversed(entries))), len(entries)


def _encode_entry(recent: Recent) -> bytes:
    # Formatted rather than dumped, as in encoders.to_json: five of them are encoded per POST.
    notification = recent.notification
    rank = b',"rank":%d' % recent.rank if recent.rank != notification.id else b""
    message = quote(notification.message).encode()
    return _ENTRY % (notification.id, notification.time, message, notification.fields, rank)


def decode(value: bytes, topic: str, now: float) -> Stored:
    """Decode a value of `topic` at time `now` (seconds). Raises ValueError for anything else."""
    latest = int((now + MAX_AHEAD) * 1000)
    try:
        document = json.loads(value)
        complete_since = document.get("floor", 0)
        if type(complete_since) is not int or not 0 <= complete_since < latest * 1000:
            raise ValueError("invalid floor")
        entries = document["notifications"]
        return Stored([_decode_entry(each, topic, latest) for each in entries], complete_since)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"unexpected format: {error!r}") from error
    except InvalidRequest as error:  # anything may write there: the fields are checked as published
        raise ValueError(str(error)) from error


def _decode_entry(entry: Mapping[str, Any], topic: str, latest: int) -> Recent:
    id, published, message = entry["id"], entry["time"], entry["message"]
    rank = entry.get("rank", id)
    if not (type(id) is type(rank) is type(published) is int and type(message) is str):
        raise TypeError("an entry has a member of another type")
    if not (0 < id < latest * 1000 and 0 < published < latest and id <= rank < latest * 1000):
        raise ValueError("an id, a rank or a time is out of range")
    message.encode()  # raises for a lone surrogate, which is not Unicode text
    return Recent(rank, Notification(id, published, message, topic, parse_fields(entry).encoded))


def encode_marker(before: int, parts: int) -> bytes:
    """Encode the clean-shutdown marker."""
    return b'{"before":%d,"parts":%d}' % (before, parts)


def encode_last_ids(last_ids: Mapping[str, int]) -> Iterator[bytes]:
    """Encode the last ids of all topics, in parts of at most `MAX_VALUE` bytes."""
    part: list[str] = []
    size = 0
    for topic, id in last_ids.items():  # topic names need no escaping in JSON
        entry = f'"{topic}":{id}'
        size += len(entry) + 1
        if size > MAX_VALUE:
            yield ("{" + ",".join(part) + "}").encode()
            part, size = [], len(entry) + 1
        part.append(entry)
    if part:
        yield ("{" + ",".join(part) + "}").encode()


def decode_marker(value: bytes, now: float) -> tuple[int, int]:
    """Return the id `before` and the number of parts. Raises ValueError."""
    document = _object(value)
    before, parts = document.get("before"), document.get("parts")
    if type(before) is not int or type(parts) is not int or not 0 <= parts <= MAX_PARTS:
        raise ValueError("unexpected format")
    _check_id(before, now)
    return before, parts


def decode_last_ids(value: bytes, now: float) -> dict[str, int]:
    """Return the last ids by topic in one part. Raises ValueError."""
    document = _object(value)
    for id in document.values():
        _check_id(id, now)
    return document


def _object(value: bytes) -> dict[str, Any]:
    try:
        document = json.loads(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError("unexpected format")
    return document


def _check_id(id: object, now: float) -> None:
    if type(id) is not int or not 0 <= id < int((now + MAX_AHEAD) * 1_000_000):
        raise ValueError("an id is out of range")
