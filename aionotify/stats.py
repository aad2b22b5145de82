"""Counters of one application. Plain numbers, so that counting costs next to nothing."""

from bisect import bisect_left
from collections import Counter
from enum import StrEnum
from typing import Protocol

from aionotify.addresses import AddressCounts, Client
from aionotify.incidents import Incidents

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds in seconds, for operations that should take milliseconds."""


class ClientKind(StrEnum):
    """The protocol of a connected client."""

    WEBSOCKET_TEXT = "websocket_text"
    WEBSOCKET_JSON = "websocket_json"
    EVENTS = "events"


class DisconnectReason(StrEnum):
    """Why the server ended a connection."""

    STALLED = "stalled"
    SILENT = "silent"
    TOO_SLOW = "too_slow"
    CLOSING = "closing"
    BROKEN = "broken"


class RejectReason(StrEnum):
    """Why the server rejected a valid request."""

    TOKEN = "token"
    SCOPE = "scope"
    KEYS = "keys"
    ORIGIN = "origin"
    HOST = "host"
    TOO_MANY = "too_many"
    TOO_MANY_PER_ADDRESS = "too_many_per_address"
    STOPPING = "stopping"
    NATS = "nats"


class Histogram:
    """Histogram with fixed upper bounds, in seconds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Record one observation."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


class ClusterStats:
    """Counters of a node of a cluster."""

    def __init__(self) -> None:
        self.connected = False
        """Whether it is connected to NATS and has everything that is in the stream."""
        self.lag = 0
        """Notifications in the stream that have not arrived, as far as it is known."""
        self.publish_seconds = Histogram()
        self.retries = 0
        """Attempts to publish that had to be repeated."""
        self.fills = 0
        """How often notifications were fetched that had not arrived."""
        self.went_back = 0
        """How often the stream was found deleted, or replaced by an older copy."""
        self.unavailable = 0
        """Requests that could not be published."""


class ConnectedClient(Client, Protocol):
    """A client that is counted."""

    @property
    def kind(self) -> ClientKind:
        """The protocol that it speaks."""


class Stats:
    """Counters of the hub and its subscribers, read by `/metrics`, and their incidents."""

    def __init__(self) -> None:
        self.connections: Counter[ClientKind] = Counter()
        self.addresses = AddressCounts()
        self.published = 0
        self.delivered = 0
        """Notifications written to clients, except recent ones shown on connect."""
        self.gaps = 0
        self.disconnected: Counter[DisconnectReason] = Counter()
        self.closed: Counter[int] = Counter()
        """WebSocket connections that the server closed, by close code."""
        self.rejected: Counter[RejectReason] = Counter()
        self.fanout_seconds = Histogram()
        self.loop_lag_seconds = Histogram()
        self.incidents = Incidents()

    def count(self, client: ConnectedClient) -> None:
        """Count a client that has subscribed."""
        self.connections[client.kind] += 1
        self.addresses.add(client)

    def uncount(self, client: ConnectedClient) -> None:
        """Forget a client that has left."""
        self.connections[client.kind] -= 1
        self.addresses.remove(client)
