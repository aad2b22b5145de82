"""A batch of notifications as the bytes that a client is sent. Pure."""

from collections.abc import Sequence
from typing import Protocol

from aionotify.frames import Opcode, encode_frame
from aionotify.notification import Notification

MAX_BATCH = 64 * 1024
"""How many bytes of messages one write carries at most, unless one message alone has more."""


class Encoding(Protocol):
    """How one kind of client is written to. Every answer is whole: nothing can stand in it."""

    def recents(self, notifications: Sequence[Notification]) -> bytes:
        """What a client is shown on connect, oldest first."""

    def notifications(self, notifications: Sequence[Notification]) -> bytes:
        """What was published, oldest first."""


class TextFrames:
    """WebSocket text frames, as the FastAPI version sent them: `[Notification] Hello`."""

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


TEXT = TextFrames()
