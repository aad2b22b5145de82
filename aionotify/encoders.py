"""A batch of notifications as the bytes that a client is sent. Pure."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol, Self

from aionotify.frames import Opcode, encode_frame
from aionotify.notification import Notification
from aionotify.recents import Snapshot

MAX_BATCH = 64 * 1024
"""Bytes of messages that one write carries at most, unless a single message is larger."""

_NOTIFICATION = b'{"type":"notification","id":"%d","time":"%b.%03dZ","topic":"%b","message":%b%b%b}'

quote = json.encoder.encode_basestring
"""Encodes a string as json.dumps(ensure_ascii=False) does; in C, if that is compiled."""


class Encoder(Protocol):
    """Encodes notifications for one client format.

    Every result is a complete sequence of frames or events, so results can be concatenated.
    """

    @property
    def end(self) -> int:
        """The position up to which this encoder is valid."""

    def at_position(self, cursor: int) -> "Encoder":
        """Return the encoder to use from position `cursor` on."""

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        """Encode `notifications`, oldest first; `recent` marks those replayed on subscribing."""

    @property
    def source(self) -> Snapshot | None:
        """The notifications to send, if not those of the topic's history."""

    def gap(self, missed: int | None, id: int) -> bytes | None:
        """Encode a gap of `missed` notifications, or return None if the format has no gaps.

        `id` is the position from which the client misses nothing anymore.
        """

    def subscribed(self, topics: Sequence[str], id: int, expires: int | None = None) -> bytes:
        """Encode that a client is caught up with `topics`, up to the position `id`.

        `expires` is the time at which its token expires, in seconds since the epoch.
        """

    def opening(self, cursor: int) -> bytes:
        """Return the bytes that come before the notifications from position `cursor` on."""

    def caught_up(self, id: int | None = None) -> bytes:
        """Return the bytes that follow at position `end`; `id` replaces the client's position."""


class _LiveEncoder:
    """Base of the encoders that are valid at every position."""

    end = sys.maxsize
    source = None

    def opening(self, cursor: int) -> bytes:
        """Return nothing: live delivery has no beginning."""
        return b""

    def caught_up(self, id: int | None = None) -> bytes:
        """Return nothing: live delivery has no end."""
        return b""

    def at_position(self, cursor: int) -> Self:
        """Return this encoder; it serves every position."""
        return self


class TextEncoder(_LiveEncoder):
    """Encodes WebSocket text frames as the FastAPI version sent them: `[Notification] Hello`."""

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        """Return one text frame per notification."""
        label = b"[Recent] " if recent else b"[Notification] "
        return b"".join(
            encode_frame(Opcode.TEXT, label + each.message.encode()) for each in notifications
        )

    def gap(self, missed: int | None, id: int) -> None:
        """Return None: the text format cannot report gaps."""
        return

    def subscribed(self, topics: Sequence[str], id: int, expires: int | None = None) -> bytes:
        """Return nothing: the text format has no positions."""
        return b""


class JsonEncoder(_LiveEncoder):
    """Encodes WebSocket text frames with one JSON object each."""

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        """Return one text frame per notification."""
        return b"".join(
            encode_frame(Opcode.TEXT, to_json(each, recent=recent)) for each in notifications
        )

    def gap(self, missed: int | None, id: int) -> bytes:
        """Return a frame with `{"type":"gap","missed":17,"id":"…"}`."""
        return encode_frame(Opcode.TEXT, _gap(missed, id))

    def subscribed(self, topics: Sequence[str], id: int, expires: int | None = None) -> bytes:
        """Return a frame with `{"type":"subscribed","topics":["main"],"id":"…"}`."""
        return encode_frame(Opcode.TEXT, _subscribed(topics, id, expires))


class EventStreamEncoder(_LiveEncoder):
    """Encodes server-sent events (WHATWG HTML §9.2): the id, and the JSON object as data.

    No block is without data: fetch-event-source, httpx-sse and others hand every blank line to the
    application as an event.
    """

    comment = b":\n"
    """Keeps proxies from closing an idle stream."""

    end_of_stream = b""

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        """Return one event per notification."""
        return b"".join(
            b"id: %d\ndata: %b\n\n" % (each.id, to_json(each, recent=recent))
            for each in notifications
        )

    def gap(self, missed: int | None, id: int) -> bytes:
        """Return an event of type `gap`, with the id from which the stream is complete again."""
        return b"event: gap\nid: %d\ndata: %b\n\n" % (id, _gap(missed, id))

    def subscribed(self, topics: Sequence[str], id: int, expires: int | None = None) -> bytes:
        """Return an event of type `subscribed`. Its id lets a client resume that saw nothing."""
        return b"event: subscribed\nid: %d\ndata: %b\n\n" % (id, _subscribed(topics, id, expires))


class ChunkedEventStreamEncoder(EventStreamEncoder):
    """Encodes the same events, with a chunk around each batch (RFC 9112 §7.1).

    Without chunks, `iter_lines()` of requests waits for 512 bytes: two or three notifications.
    """

    comment = b"2\r\n:\n\r\n"
    end_of_stream = b"0\r\n\r\n"

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        """Return one chunk with one event per notification."""
        return chunk(super().encode(notifications, recent=recent))

    def gap(self, missed: int | None, id: int) -> bytes:
        """Return the event in a chunk."""
        return chunk(super().gap(missed, id))

    def subscribed(self, topics: Sequence[str], id: int, expires: int | None = None) -> bytes:
        """Return the event in a chunk."""
        return chunk(super().subscribed(topics, id, expires))


@dataclass(frozen=True, slots=True)
class ReplayEncoder:
    """Marks notifications before position `end` as recent, for a client that catches up.

    At `end` the client is told that it is caught up, and its position, the id `position`.
    Compares by value, so that clients resuming at the same position share encoded batches.
    """

    live: Encoder
    end: int
    topics: tuple[str, ...]
    position: int
    source: Snapshot | None = None
    start: int = 0
    gap_before: bytes = b""
    """Tells of a gap before position `start`."""
    expires: int | None = None
    """The time at which the client's token expires, in seconds since the epoch."""

    def at_position(self, cursor: int) -> Encoder:
        """Return the live encoder once the replay has reached its end."""
        return self.live if cursor >= self.end else self

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        """Encode `notifications` as recent, whatever the caller says."""
        return self.live.encode(notifications, recent=True)

    def gap(self, missed: int | None, id: int) -> bytes | None:
        """Encode a gap as the live encoder does."""
        return self.live.gap(missed, id)

    def subscribed(self, topics: Sequence[str], id: int, expires: int | None = None) -> bytes:
        """Encode a position as the live encoder does."""
        return self.live.subscribed(topics, id, expires)

    def opening(self, cursor: int) -> bytes:
        """Return the gap at the start of the replay."""
        return self.gap_before if cursor == self.start else b""

    def caught_up(self, id: int | None = None) -> bytes:
        """Return the client's position, which is told at the end of the replay."""
        position = self.position if id is None else id
        return self.live.subscribed(self.topics, position, self.expires)


def chunk(data: bytes) -> bytes:
    """Return `data` as one chunk, and nothing for no data: an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def to_json(notification: Notification, *, recent: bool = False) -> bytes:
    """Return the JSON object of a notification as compact UTF-8; the same in every format."""
    # Formatted rather than dumped: every POST and every batch of the fan-out comes through here,
    # and json.dumps takes 5.9 µs for the object, this 0.8. Only the message needs escaping: topic
    # names have no characters that do, and the fields were encoded when they were published.
    seconds, milliseconds = divmod(notification.time, 1000)
    return _NOTIFICATION % (
        notification.id,
        _date(seconds),
        milliseconds,
        notification.topic.encode(),
        quote(notification.message).encode(),
        notification.fields,
        b',"recent":true' if recent else b"",
    )


@lru_cache(maxsize=8)  # a burst is published within a few seconds
def _date(seconds: int) -> bytes:
    """Return a time in seconds since the epoch as RFC 3339, without fraction and zone."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


def to_rfc3339(seconds: int) -> str:
    """Return a time in seconds since the epoch in RFC 3339, as in notifications."""
    return f"{_date(seconds).decode()}.000Z"


def compact_json(document: object) -> bytes:
    """Return `document` as compact JSON in UTF-8, without escapes for non-ASCII characters."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _gap(missed: int | None, id: int) -> bytes:
    return compact_json({"type": "gap", "missed": missed, "id": str(id)})


def _subscribed(topics: Sequence[str], id: int, expires: int | None) -> bytes:
    document: dict[str, object] = {"type": "subscribed", "topics": topics, "id": str(id)}
    if expires is not None:
        document["expires"] = to_rfc3339(expires)
    return compact_json(document)


TEXT = TextEncoder()
JSON = JsonEncoder()
EVENT_STREAM = EventStreamEncoder()
CHUNKED_EVENT_STREAM = ChunkedEventStreamEncoder()
