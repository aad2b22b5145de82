"""The published unit."""

import re
from dataclasses import dataclass, field

MAIN = "main"
"""Default topic, and the only one that clients of the FastAPI version know."""

# [0-9] and no \d: that matches the digits of every script.
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What topics and tags are called."""

NAME_FORMAT = "1 to 64 letters, digits, '_', '.' or '-'"


@dataclass(frozen=True, slots=True)
class Notification:
    """A message, published once, in one topic.

    `id` is unique and increases over all topics of a process, also across restarts.
    `time` is the time of publication in milliseconds since the epoch (UTC).
    """

    id: int
    time: int
    message: str
    topic: str = MAIN
    # Not compared: a server of an earlier version drops the fields when it stores the recent
    # notifications of others again. The same notification without them must not count as another.
    fields: bytes = field(default=b"", compare=False)
    """The optional fields, encoded as the members of a JSON object: `Fields.encoded`."""

    @property
    def size(self) -> int:
        """The bytes that are retained for it: its message and its fields."""
        return len(self.message.encode()) + len(self.fields)


@dataclass(frozen=True, slots=True)
class Draft:
    """A valid notification that has no id yet; `size` is that of the notification."""

    topic: str
    message: str
    size: int
    fields: bytes = b""
    key: str = ""
    """Identifies it in the whole cluster, so that it is stored once; empty: it has no key."""
