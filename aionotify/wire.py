"""A batch of notifications as the bytes that a client is sent. Pure."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self

from aionotify.counts import Kind
from aionotify.frames import Opcode, encode_frame
from aionotify.notification import Notification

MAX_BATCH = 64 * 1024
"""How many bytes of messages one write carries at most, unless one message alone has more."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Encoding(Protocol):
    """How one kind of client is written to. Every answer is whole: nothing can stand in it."""

    @property
    def kind(self) -> str:
        """Of which `Kind` those are that are written to like this."""

    @property
    def until(self) -> int:
        """The position up to which it serves."""

    def at(self, cursor: int) -> "Encoding":
        """The one that serves from position `cursor` on."""

    def recents(self, notifications: Sequence[Notification]) -> bytes:
        """What a client is shown on connect, oldest first."""

    def notifications(self, notifications: Sequence[Notification]) -> bytes:
        """What was published, oldest first."""

    def gap(self, missed: int | None) -> bytes | None:
        """That `missed` notifications never come; None for a client that cannot be told."""


class _Live:
    """Serves every position."""

    until = sys.maxsize

    def at(self, cursor: int) -> Self:
        """Itself."""
        return self


class TextFrames(_Live):
    """WebSocket text frames, as the FastAPI version sent them: `[Notification] Hello`."""

    kind = Kind.WEBSOCKET_TEXT

    def recents(self, notifications: Sequence[Notification]) -> bytes:
        """One `[Recent] <message>` frame each."""
        return b"".join(
            encode_frame(Opcode.TEXT, b"[Recent] " + each.message.encode())
            for each in notifications
        )

    def notifications(self, notifications: Sequence[Notification]) -> bytes:
        """One `[Notification] <message>` frame each."""
        return b"".join(
            encode_frame(Opcode.TEXT, b"[Notification] " + each.message.encode())
            for each in notifications
        )

    def gap(self, missed: int | None) -> None:
        """There is no text for it."""
        return


class JsonFrames(_Live):
    """WebSocket text frames with one JSON object each."""

    kind = Kind.WEBSOCKET_JSON

    def recents(self, notifications: Sequence[Notification]) -> bytes:
        """Notifications marked as `recent`."""
        return b"".join(
            encode_frame(Opcode.TEXT, to_json(each, recent=True)) for each in notifications
        )

    def notifications(self, notifications: Sequence[Notification]) -> bytes:
        """Notifications as they are published."""
        return b"".join(encode_frame(Opcode.TEXT, to_json(each)) for each in notifications)

    def gap(self, missed: int | None) -> bytes:
        """`{"type":"gap","missed":17}`."""
        return encode_frame(Opcode.TEXT, _gap(missed))


class ServerSentEvents(_Live):
    """Events of a `text/event-stream` (WHATWG HTML §9.2): the id, and the object as data."""

    kind = Kind.EVENTS

    def recents(self, notifications: Sequence[Notification]) -> bytes:
        """Notifications marked as `recent`."""
        return b"".join(
            b"id: %d\ndata: %b\n\n" % (each.id, to_json(each, recent=True))
            for each in notifications
        )

    def notifications(self, notifications: Sequence[Notification]) -> bytes:
        """Notifications as they are published."""
        return b"".join(
            b"id: %d\ndata: %b\n\n" % (each.id, to_json(each)) for each in notifications
        )

    def gap(self, missed: int | None) -> bytes:
        """An event of the type `gap`, without an id: the last one seen stays the last."""
        return b"event: gap\ndata: %b\n\n" % _gap(missed)


@dataclass(frozen=True, slots=True)
class Replay:
    """For a client that resumes: what was published before it came is `recent`, up to `until`.

    Two of the same are equal, so that clients that resume together share what is encoded.
    """

    live: Encoding
    until: int

    @property
    def kind(self) -> str:
        """As the live encoding has it."""
        return self.live.kind

    def at(self, cursor: int) -> Encoding:
        """The live encoding once everything is replayed."""
        return self.live if cursor >= self.until else self

    def recents(self, notifications: Sequence[Notification]) -> bytes:
        """As the live encoding has them."""
        return self.live.recents(notifications)

    def notifications(self, notifications: Sequence[Notification]) -> bytes:
        """Recents, to this client."""
        return self.live.recents(notifications)

    def gap(self, missed: int | None) -> bytes | None:
        """As the live encoding has it."""
        return self.live.gap(missed)


def to_json(notification: Notification, *, recent: bool = False) -> bytes:
    """The one object that stands for a notification wherever JSON is spoken: compact UTF-8."""
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
    """JSON without spaces, as raw UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _gap(missed: int | None) -> bytes:
    return compact_json({"type": "gap", "missed": missed})


TEXT = TextFrames()
JSON = JsonFrames()
SSE = ServerSentEvents()
