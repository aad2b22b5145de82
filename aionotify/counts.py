"""What has happened so far, as plain numbers: counting costs next to nothing. Pure."""

from bisect import bisect_left
from collections import Counter

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: what is expected to take milliseconds."""


class Histogram:
    """How many observations were at most as long as each of `bounds`, and what all came to."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = QUICK) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


class Cause:
    """Why a client was cut off."""

    STALLED = "stalled"
    SILENT = "silent"
    TOO_SLOW = "too_slow"
    CLOSING = "closing"
    BROKEN = "broken"
    ALL = (STALLED, SILENT, TOO_SLOW, CLOSING, BROKEN)


class Refusal:
    """Why a request was refused."""

    TOKEN = "token"
    ORIGIN = "origin"
    HOST = "host"
    TOO_MANY = "too_many"
    STOPPING = "stopping"
    ALL = (TOKEN, ORIGIN, HOST, TOO_MANY, STOPPING)


class Kind:
    """How a client is connected."""

    WEBSOCKET_TEXT = "websocket_text"
    WEBSOCKET_JSON = "websocket_json"
    EVENTS = "events"
    ALL = (WEBSOCKET_TEXT, WEBSOCKET_JSON, EVENTS)


class Counts:
    """What the hub and those in it count. Read by `/metrics`."""

    def __init__(self) -> None:
        self.connections: Counter[str] = Counter()
        self.published = 0
        self.delivered = 0
        """Notifications that were written to a client, but for the recents shown on connect."""
        self.gaps = 0
        self.cut_off: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.fanout_seconds = Histogram()
        self.loop_lag_seconds = Histogram()
