"""The rule that ends a connection whose client accepts no data."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

STALL_CHECKS = 4
"""Looks at a connection within its stall time-out."""

# `struct tcp_info` in linux/tcp.h, to which fields are only ever appended: tcpi_unacked,
# tcpi_bytes_acked (Linux 4.1) and tcpi_notsent_bytes (Linux 4.6).
_TCP_INFO = struct.Struct("=24xI92xQ16xI")


class StallTimer:
    """Watches a connection on which data waits for the client.

    It exists only that long, so that an idle client pays nothing for it.
    """

    __slots__ = (
        "_accepted",
        "_handle",
        "_idle_checks",
        "_interval",
        "_on_progress",
        "_on_stall",
        "_transport",
    )

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        timeout: float,
        on_stall: Callable[[], None],
        on_progress: Callable[[], None] | None = None,
    ) -> None:
        """Call `on_stall` once the client has accepted no byte for `timeout` seconds.

        With `on_progress`, call that and stop watching as soon as the client accepts anything.
        """
        self._transport = transport
        self._interval = timeout / STALL_CHECKS
        self._on_stall = on_stall
        self._on_progress = on_progress
        # The first check measures, so the time-out may take a quarter longer. Measuring here would
        # cost a system call for every client that lags for a moment.
        self._accepted: int | None = None
        self._idle_checks = 0
        self._schedule()

    def cancel(self) -> None:
        """Stop watching. May be called more than once."""
        self._handle.cancel()

    def _schedule(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(self._interval, self._check)

    def _check(self) -> None:
        now = acceptance(self._transport)
        progress = self._accepted is not None and now.accepted > self._accepted
        if self._on_progress is not None and (progress or not now.outstanding):
            self._on_progress()
            return
        self._idle_checks = 0 if progress or self._accepted is None else self._idle_checks + 1
        self._accepted = now.accepted
        if self._idle_checks < STALL_CHECKS:
            self._schedule()
        else:
            self._on_stall()


class Acceptance(NamedTuple):
    """How far a client has accepted the data that was written to it."""

    accepted: int
    """A number that grows whenever the client accepts data, and means nothing by itself."""

    outstanding: bool
    """Whether the client has yet to accept something."""


def acceptance(transport: asyncio.WriteTransport) -> Acceptance:
    """Return how far the peer of `transport` has accepted the data written to it.

    Costs a system call on Linux. Elsewhere only the buffer of the transport is known.
    """
    # The transport's buffer is no measure of progress: Linux grows the send buffer of a socket to
    # 4 MiB and reports it as writable only once a third of it is free. A client that reads 20 KB/s
    # behind a replay leaves the transport's buffer as it is for more than a minute. SIOCOUTQ tells
    # the length of the kernel's buffer, but not progress where as much is written as is read.
    info = _tcp_info(transport.get_extra_info("socket"))
    if info is None:
        unsent = transport.get_write_buffer_size()
        return Acceptance(-unsent, unsent > 0)
    unacknowledged_segments, acknowledged, unsent = info
    return Acceptance(acknowledged, unacknowledged_segments > 0 or unsent > 0)


def _tcp_info(connection: socket.socket | None) -> tuple[int, int, int] | None:
    if connection is None or not hasattr(socket, "TCP_INFO"):
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:  # a Unix socket, or the connection is gone
        return None
    if len(info) < _TCP_INFO.size:
        return None
    unacknowledged, acknowledged, unsent = _TCP_INFO.unpack(info)
    return unacknowledged, acknowledged, unsent
