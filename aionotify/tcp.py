"""What the kernel knows about the data that a client has accepted."""

import asyncio
import socket
import struct
from typing import NamedTuple

# `struct tcp_info` in linux/tcp.h, to which fields are only ever appended: tcpi_unacked,
# tcpi_bytes_acked (Linux 4.1) and tcpi_notsent_bytes (Linux 4.6).
_TCP_INFO = struct.Struct("=24xI92xQ16xI")


class Acceptance(NamedTuple):
    """How far a client has accepted the data that was written to it."""

    accepted: int
    """A number that grows whenever the client accepts data, and means nothing by itself."""

    outstanding: bool
    """Whether the client has yet to accept something."""


def acceptance(transport: asyncio.Transport) -> Acceptance:
    """Return how far the peer of `transport` has accepted the data written to it.

    Costs a system call on Linux. Elsewhere only the transport's own buffer can be told, which
    stands still while the kernel's larger one drains.
    """
    # The transport alone is no measure: Linux grows the send buffer of a socket to 4 MiB and
    # reports it as writable when a third of it is free again. A client that reads 20 KB/s steadily
    # leaves the transport's buffer as it is for more than a minute.
    # SIOCOUTQ would tell the bytes in that buffer, which do not shrink where as many are written.
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
    unacknowledged, acknowledged, unsent = _TCP_INFO.unpack(info)
    return unacknowledged, acknowledged, unsent
