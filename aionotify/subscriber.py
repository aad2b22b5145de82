"""One connected client: its transport, its encoding, its cursor."""

import asyncio
import logging
from typing import Protocol, cast

from aionotify.counts import Cause, Counts
from aionotify.wire import Encoding

log = logging.getLogger(__name__)


class Audience(Protocol):
    """Those among whom a subscriber is, and who want to know how it fares."""

    @property
    def counts(self) -> Counts:
        """Where to count what happens to it."""

    def resumed(self, subscriber: "Subscriber") -> None:
        """`subscriber` lagged, and can be written to again."""

    def catch_up(self, subscriber: "Subscriber") -> None:
        """Write at once what `subscriber` has yet to be sent, as far as it can be written to."""

    def left(self, subscriber: "Subscriber") -> None:
        """`subscriber` is to be sent nothing more. May come twice."""


class Nobody:
    """The audience of one who has not joined yet."""

    counts = Counts()

    def resumed(self, subscriber: "Subscriber") -> None:
        """Nothing was missed."""

    def catch_up(self, subscriber: "Subscriber") -> None:
        """There is nothing to catch up with."""

    def left(self, subscriber: "Subscriber") -> None:
        """Nobody notices."""


NOBODY = Nobody()


class Subscriber(asyncio.Protocol):
    """A connected client: where to write, and how far it has been sent.

    Holds no queue. A client that reads slowly is a cursor that lags: `ready` is false while its
    transport holds anything that the kernel has not taken yet, and once it is leaving.

    It is itself the protocol of its transport, so that an idle client costs no task. Somebody who
    has not accepted a byte for `stall_timeout` seconds is cut off.
    """

    __slots__ = (
        "_leaving",
        "_stall_timeout",
        "_timer",
        "audience",
        "connected",
        "cursor",
        "encoding",
        "forwarded",
        "ready",
        "transport",
    )

    def __init__(self, encoding: Encoding, stall_timeout: float) -> None:
        self.audience: Audience = NOBODY
        self.encoding = encoding
        self.cursor = 0
        self.forwarded: str | None = None
        """Its address, where it comes through a proxy that may be believed."""
        self.ready = False
        self.connected = False
        self.transport: asyncio.Transport
        self._leaving = False
        self._stall_timeout = stall_timeout
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over `transport`. Its write buffer is to be empty: every byte left over pauses."""
        self.transport = cast(asyncio.Transport, transport)
        self.ready = self.connected = True
        self.transport.set_write_buffer_limits(high=0)

    def write(self, batch: bytes, cursor: int) -> None:
        """Hand `batch` to the transport and move on to position `cursor`. Never waits."""
        self.transport.write(batch)
        self.cursor = cursor

    def pause_writing(self) -> None:
        """The kernel did not take everything: the client lags from here on."""
        self.ready = False
        if self._timer is None:
            self._watch(self.transport.get_write_buffer_size(), 1)

    def resume_writing(self) -> None:
        """The transport has drained: the client can be taken up again."""
        if not self._leaving:
            self._cancel_timer()
            self.ready = True
            self.audience.resumed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, whoever ended it."""
        self.connected = False
        self._leave()
        self._cancel_timer()

    def overtaken(self, first: int) -> None:
        """What comes next for this client is no longer retained, but for what is at `first`.

        It is told how many it missed, and goes on from there.
        """
        self.audience.counts.gaps += 1
        self.write(self.encoding.gap(first - self.cursor) or b"", first)

    def pulse(self, interval: float) -> None:
        """A heartbeat, every `interval` seconds: see that the client is still there."""
        raise NotImplementedError

    def restart(self) -> None:
        """The server stops: tell the client to come back, and close."""
        raise NotImplementedError

    def cut_off(self, reason: str, cause: str) -> None:
        """End the connection at once, dropping what it has not accepted.

        Logged with `reason`, and counted under `cause`, one of `Cause`.
        """
        self.audience.counts.cut_off[cause] += 1
        peer = self.transport.get_extra_info("peername")
        direct = f"{peer[0]}:{peer[1]}" if peer else "unknown"
        log.info("client %s cut off: %s", self.forwarded or direct, reason)
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        self.ready = False
        self._leaving = True
        self.audience.left(self)

    def _end(self, timeout: float) -> None:
        """Leave, close once everything written is flushed, but cut off after `timeout` seconds."""
        self._leave()
        self._cancel_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            timeout, self.cut_off, f"closing took more than {timeout:g} s", Cause.CLOSING
        )

    def _watch(self, pending: int, quiet: int) -> None:
        """See in a quarter of the stall time-out whether any of `pending` bytes was accepted."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._stall_timeout / 4, self._look, pending, quiet)

    def _look(self, pending: int, quiet: int) -> None:
        now_pending = self.transport.get_write_buffer_size()
        if now_pending < pending:
            self._watch(now_pending, 1)
        elif quiet < 4:
            self._watch(now_pending, quiet + 1)
        else:
            self.cut_off(f"it has accepted nothing for {self._stall_timeout} s", Cause.STALLED)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
