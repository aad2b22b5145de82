"""The published unit."""

from dataclasses import dataclass

MAIN = "main"
"""Default topic, and the only one that clients of the FastAPI version know."""


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


@dataclass(frozen=True, slots=True)
class Draft:
    """A valid notification that has no id yet; `size` is the length of its text in bytes."""

    topic: str
    message: str
    size: int
