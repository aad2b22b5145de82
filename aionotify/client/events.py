"""What a listener is told: notifications and gaps, read from JSON frames. Pure."""

import json
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification. Pass its `id` as `since` to continue after it in another process."""

    id: str
    time: datetime
    """When it was published, in UTC."""
    topic: str
    message: str
    recent: bool = False
    """Whether it was published before the connection was made."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Notifications that this client will never receive: `missed`, or None if unknown.

    `id` is the position from which nothing is missing, for `since`.
    """

    missed: int | None
    id: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Everything up to the position `id` has been received."""

    id: str


Event = Notification | Gap | Subscribed


def parse(text: str) -> Event | None:
    """Return the value of a JSON frame, or None for a type that this client does not know.

    A newer server may send more types, and more members. Raise ValueError for anything else.
    """
    match json.loads(text):
        case {
            "type": "notification",
            "id": str(id),
            "time": str(published),
            "topic": str(topic),
            "message": str(message),
            **more,
        }:
            recent = more.get("recent") is True
            return Notification(id, datetime.fromisoformat(published), topic, message, recent)
        case {"type": "gap", "missed": int() | None as missed, "id": str(id)}:
            return Gap(missed, id)
        case {"type": "subscribed", "id": str(id)}:
            return Subscribed(id)
        case {"type": str(kind)} if kind not in ("notification", "gap", "subscribed"):
            return None
    raise ValueError("not a frame of an aionotify server")
