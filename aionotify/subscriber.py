"""A connected client: its transport, its encoder, and its cursor into the topic's history."""

import asyncio
from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol, cast

from aionotify.encoders import Encoder
from aionotify.net import peer_address, peer_host
from aionotify.stall import StallTimer, acceptance
from aionotify.stats import ClientKind, DisconnectReason, Stats


class State(IntEnum):
    """The state of a connection.

    OPEN ⇄ REPLAYING ⇄ LAGGING → CLOSING → DRAINING → CLOSED

    A connection may skip states to the right; it never goes back from CLOSING or later.
    """

    OPEN = 0
    """The client is up to date, or is brought there by the current pass of the fan-out."""

    REPLAYING = 1
    """The client is behind; it is brought up to date when live delivery leaves time for it."""

    LAGGING = 2
    """The transport still holds bytes that the kernel has not taken."""

    CLOSING = 3
    """We are ending the connection; nothing more is sent. Input is still read."""

    DRAINING = 4
    """Like CLOSING, but input is discarded."""

    CLOSED = 5
    """The connection is gone."""


class Feed(Protocol):
    """What subscribers call: the part of a topic, or of several topics together."""

    @property
    def names(self) -> Sequence[str]:
        """The topics of its subscribers."""

    @property
    def stats(self) -> Stats:
        """The counters of the application."""

    def on_writable(self, subscriber: "Subscriber") -> None:
        """Continue delivery to `subscriber`, which lagged and can be written to again."""

    def catch_up(self, subscriber: "Subscriber") -> None:
        """Write pending notifications to `subscriber` now, as far as its socket accepts them."""

    def unsubscribe(self, subscriber: "Subscriber") -> None:
        """Stop delivery to `subscriber`. May be called more than once."""


WRITE_ERRORS = (OSError, RuntimeError)
"""The errors of a transport that is in no state to be written to."""


class Follower(Protocol):
    """A cursor into the history of one topic, as the topic and the fan-out see it.

    A subscriber of one topic is one itself; a subscriber of several has one for each of them.
    """

    cursor: int

    @property
    def encoder(self) -> Encoder:
        """The encoder of the client."""

    @property
    def state(self) -> State:
        """The state of the connection."""

    @property
    def writable(self) -> bool:
        """Whether the client can be written to: it neither lags nor leaves."""

    @property
    def client(self) -> "Subscriber | None":
        """The client, or None if another of its followers stands for it."""

    def write(self, batch: bytes, cursor: int) -> None:
        """Write `batch` and move to position `cursor`, if nothing else has to come before it."""

    def skip_to(self, first: int, id: int, *, counted: bool = True) -> None:
        """Have the client told of a gap: positions before `first` are no longer retained.

        Unless `counted`, the positions do not tell how many notifications are missing.
        """

    def disconnect(self, message: str, reason: DisconnectReason) -> None:
        """Abort the connection of the client."""


def disconnect_broken(follower: Follower, error: Exception) -> None:
    """Disconnect the client of `follower`: its transport is in no state to be written to."""
    follower.disconnect(f"the connection is broken: {error}", DisconnectReason.BROKEN)


class Subscriber(asyncio.Protocol):
    """A connected client: its transport, its encoder, and its cursor into the topic's history.

    It holds no queue. A slow client is a cursor that lags behind.
    A subscriber is the protocol of its transport itself, so an idle client needs no task.
    A client whose socket accepts no data for `stall_timeout` seconds is disconnected.

    `topic` is set when it subscribes, before the event loop can call any method here.
    """

    __slots__ = (
        "_stall_timeout",
        "_timer",
        "client_address",
        "cursor",
        "encoder",
        "state",
        "topic",
        "transport",
    )

    def __init__(self, encoder: Encoder, stall_timeout: float) -> None:
        self.topic: Feed
        self.encoder = encoder
        self.cursor = 0
        self.client_address: str | None = None
        """The address that a trusted proxy reported, or that of the peer over TLS, if any."""
        self.state = State.CLOSED
        self.transport: asyncio.Transport
        self._stall_timeout = stall_timeout
        self._timer: asyncio.TimerHandle | StallTimer | None = None

    @property
    def address(self) -> str | None:
        """The client's address: that of the peer, unless a trusted proxy reported another one."""
        return self.client_address or peer_host(self.transport)

    @property
    def kind(self) -> ClientKind:
        """The protocol that this client speaks."""
        raise NotImplementedError

    @property
    def expires(self) -> int | None:
        """The time at which its token expires, in seconds since the epoch; None: never."""
        return None

    @property
    def writable(self) -> bool:
        """Whether the client can be written to: it neither lags nor leaves."""
        return self.state <= State.REPLAYING

    @property
    def client(self) -> "Subscriber":
        """This subscriber: the one cursor of its client."""
        return self

    @property
    def connected(self) -> bool:
        """Whether the connection still exists, even if it is being closed."""
        return self.state is not State.CLOSED

    @property
    def peer(self) -> str:
        """The client's address for the log, with its port unless a trusted proxy reported it."""
        return self.client_address or peer_address(self.transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over `transport`, whose write buffer must be empty."""
        self.transport = cast(asyncio.Transport, transport)
        self.state = State.OPEN
        # Every byte that the kernel does not take at once pauses writing. asyncio's TLS transport
        # (Python 3.11 to 3.13, and that of uvloop 0.23) pauses at `size >= high`, other transports
        # at `size > high`: with 0, it would pause with an empty buffer, which nothing ever drains.
        over_tls = transport.get_extra_info("sslcontext") is not None
        self.transport.set_write_buffer_limits(high=1 if over_tls else 0)
        # It also forgets the peer before it calls `connection_lost`. Others remember it.
        if over_tls and self.client_address is None:
            self.client_address = peer_host(transport)

    def write(self, batch: bytes, cursor: int) -> None:
        """Hand `batch` to the transport and move to position `cursor`. Never waits."""
        # The fan-out calls this for every delivery: writing it out there would save 26 ns of the
        # 7,100 that a delivery costs, most of them in the kernel.
        self.transport.write(batch)
        self.cursor = cursor

    def pause_writing(self) -> None:
        """Mark the client as lagging: the kernel did not take everything."""
        self.state = max(self.state, State.LAGGING)
        if self._timer is None:
            self._timer = StallTimer(self.transport, self._stall_timeout, self._on_stall)

    def resume_writing(self) -> None:
        """Continue delivery: the transport's buffer is empty again."""
        if self.state is State.LAGGING:
            self._cancel_timer()
            self.state = State.OPEN
            self.topic.on_writable(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Unsubscribe the client, whichever side ended the connection."""
        self.state = State.CLOSED
        self.topic.unsubscribe(self)
        self._cancel_timer()

    def skip_to(self, first: int, id: int, *, counted: bool = True) -> None:
        """Skip to `first`, the oldest retained position, and report the gap to the client.

        `id` is the position from which it misses nothing anymore.
        """
        self.topic.stats.gaps += 1
        missed = first - self.cursor if counted else None
        gap = self.encoder.opening(self.cursor) + (self.encoder.gap(missed, id) or b"")
        # A replay whose end was evicted never gets there: this is where the client is caught up.
        tail = self.encoder.caught_up(id) if first >= self.encoder.end else b""
        self.write(gap + tail, first)
        # Even if the client lags now: it must not be told twice that it is caught up.
        self.encoder = self.encoder.at_position(first)

    def ping(self, interval: float) -> None:
        """Send a heartbeat; called every `interval` seconds."""
        raise NotImplementedError

    def close_for_restart(self, timeout: float) -> None:
        """Close the connection so that the client reconnects: the server is stopping.

        A client that has not done its part within `timeout` seconds is disconnected.
        """
        raise NotImplementedError

    def disconnect(self, message: str, reason: DisconnectReason) -> None:
        """Abort the connection, dropping unsent data. Reports `message` and counts `reason`."""
        self.topic.stats.disconnected[reason] += 1
        self._report(reason, message)
        self._leave()
        self.transport.abort()

    def _report(self, kind: str, message: str) -> None:
        """Log why the server ends the connection. `kind` bounds the number of lines."""
        self.topic.stats.incidents.report(kind, f"disconnected client {self.peer}: {message}")

    def _leave(self) -> None:
        self.state = max(self.state, State.CLOSING)
        self.topic.unsubscribe(self)

    def _close_within(self, timeout: float) -> None:
        """Stop delivery, and disconnect if the connection is not closed in `timeout` seconds."""
        self._leave()
        self._cancel_timer()
        loop = asyncio.get_running_loop()
        message = f"closing took more than {timeout:g} s"
        self._timer = loop.call_later(timeout, self.disconnect, message, DisconnectReason.CLOSING)

    def _watch_outstanding(self) -> bool:
        """Return whether the client has yet to accept data; if so, the stall time-out runs.

        A heartbeat calls this. It finds clients that vanished, and those that do not read while
        the kernel's buffer still has room for their data: neither pauses the transport.
        """
        outstanding = acceptance(self.transport).outstanding
        if outstanding and self._timer is None:
            self._timer = StallTimer(
                self.transport, self._stall_timeout, self._on_stall, self._on_progress
            )
        return outstanding

    def _on_progress(self) -> None:
        self._timer = None
        if self.state is State.LAGGING:
            self.pause_writing()

    def _on_stall(self) -> None:
        message = f"no data accepted for {self._stall_timeout:g} s"
        self.disconnect(message, DisconnectReason.STALLED)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
