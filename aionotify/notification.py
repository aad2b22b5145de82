"""The published unit."""

from dataclasses import dataclass

MAIN = "main"
"""The topic that layer 1 speaks of, and that is meant where none is named."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One message, published once, in one topic.

    `id` increases strictly within a topic, also across restarts. `time` is when it was
    published, in milliseconds since the epoch (UTC).
    """

    id: int
    time: int
    message: str
    topic: str = MAIN
