"""The events of a listener: notifications and gaps, read from JSON frames. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


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
    title: str | None = None
    url: str | None = None
    tag: str | None = None
    # A value that cannot be hashed must not keep notifications out of sets.
    data: Any = field(default=None, hash=False)
    """Any JSON value. None if it is absent or null, which browsers do not tell apart either."""


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
    expires: datetime | None = None
    """When the token expires, by the server's clock; None if it does not."""


@dataclass(frozen=True, slots=True)
class Authorized:
    """The server has accepted another token."""

    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Error:
    """The server refuses a frame."""

    detail: str


Event = Notification | Gap | Subscribed | Authorized | Error

_KNOWN = ("notification", "gap", "subscribed", "authorized", "error")


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
            return Notification(
                *(id, _time(published), topic, message),
                recent=more.get("recent") is True,
                title=_optional_text(more, "title"),
                url=_optional_text(more, "url"),
                tag=_optional_text(more, "tag"),
                data=more.get("data"),
            )
        case {"type": "gap", "missed": int() | None as missed, "id": str(id)}:
            return Gap(missed, id)
        case {"type": "subscribed", "id": str(id), **more}:
            return Subscribed(id, _expires(more))
        case {"type": "authorized", **more}:
            return Authorized(_expires(more))
        case {"type": "error", "detail": str(detail)}:
            return Error(detail)
        case {"type": str(kind)} if kind not in _KNOWN:
            return None
    raise ValueError("not a frame of an aionotify server")


def _optional_text(members: Mapping[object, object], name: str) -> str | None:
    value = members.get(name)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{name} is not text")


def _expires(members: Mapping[object, object]) -> datetime | None:
    text = _optional_text(members, "expires")
    return None if text is None else _time(text)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:  # it could not be compared
        raise ValueError("a time has no offset from UTC")
    return time
