"""A batch of notifications as the bytes that a client is sent. Pure."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self

from aionotify.frames import Opcode, encode_frame
from aionotify.notification import Notification

MAX_BATCH = 64 * 1024
"""Bytes of messages that one write carries at most, unless a single message is larger."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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

    def gap(self, missed: int | None) -> bytes | None:
        """Encode a gap of `missed` notifications, or return None if the format has no gaps."""


class _LiveEncoder:
    """Base of the encoders that are valid at every position."""

    end = sys.maxsize

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

    def gap(self, missed: int | None) -> None:
        """Return None: the text format cannot report gaps."""
        return


class JsonEncoder(_LiveEncoder):
    """Encodes WebSocket text frames with one JSON object each."""

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        """Return one text frame per notification."""
        return b"".join(
            encode_frame(Opcode.TEXT, to_json(each, recent=recent)) for each in notifications
        )

    def gap(self, missed: int | None) -> bytes:
        """Return a frame with `{"type":"gap","missed":17}`."""
        return encode_frame(Opcode.TEXT, _gap(missed))


class EventStreamEncoder(_LiveEncoder):
    """Encodes server-sent events (WHATWG HTML §9.2): the id, and the JSON object as data."""

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        """Return one event per notification."""
        return b"".join(
            b"id: %d\ndata: %b\n\n" % (each.id, to_json(each, recent=recent))
            for each in notifications
        )

    def gap(self, missed: int | None) -> bytes:
        """Return an event of type `gap`. It has no id: the client's last event id stays valid."""
        return b"event: gap\ndata: %b\n\n" % _gap(missed)


@dataclass(frozen=True, slots=True)
class ReplayEncoder:
    """Marks notifications before position `end` as recent, for a client that resumes.

    Compares by value, so that clients resuming at the same position share encoded batches.
    """

    live: Encoder
    end: int

    def at_position(self, cursor: int) -> Encoder:
        """Return the live encoder once the replay has reached its end."""
        return self.live if cursor >= self.end else self

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        """Encode `notifications` as recent, whatever the caller says."""
        return self.live.encode(notifications, recent=True)

    def gap(self, missed: int | None) -> bytes | None:
        """Encode a gap as the live encoder does."""
        return self.live.gap(missed)


def to_json(notification: Notification, *, recent: bool = False) -> bytes:
    """Return the JSON object of a notification as compact UTF-8; the same in every format."""
    published = _EPOCH + timedelta(milliseconds=notification.time)
    document: dict[str, str | bool] = {
        "type": "notification",
        "id": str(notification.id),
        "time": published.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "topic": notification.topic,
        "message": notification.message,
    }
    if recent:
        document["recent"] = True
    return compact_json(document)


def compact_json(document: object) -> bytes:
    """Return `document` as compact JSON in UTF-8, without escapes for non-ASCII characters."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _gap(missed: int | None) -> bytes:
    return compact_json({"type": "gap", "missed": missed})


TEXT = TextEncoder()
JSON = JsonEncoder()
EVENT_STREAM = EventStreamEncoder()
