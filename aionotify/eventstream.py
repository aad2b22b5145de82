"""A subscriber over HTTP: server-sent events (WHATWG HTML §9.2)."""

import asyncio
import socket
from collections.abc import Mapping

from aionotify.subscriber import Subscriber
from aionotify.wire import SSE

RETRY = 2000
"""Milliseconds after which a client reconnects that lost its connection."""

CLOSE_TIMEOUT = 5.0
"""Seconds in which what was written is to be flushed at the end."""

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "Connection": "close",
}
"""Without a length the body ends where the connection does (RFC 9112 §6.3): every HTTP/1.0 proxy
can read it, and nothing needs to be framed."""


def head(more: Mapping[str, str] | None = None) -> bytes:
    """The head of the answer, and the first line of the stream."""
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in HEADERS.items())]
    lines += [f"{name}: {value}" for name, value in (more or {}).items()]
    return "\r\n".join([*lines, "", f"retry: {RETRY}\n\n"]).encode()


class EventStream(Subscriber):
    """A client that only listens: whatever it sends after its request is dropped."""

    __slots__ = ("_heartbeat",)

    def __init__(self, stall_timeout: float, heartbeat: float) -> None:
        """`heartbeat` in seconds: a peer that acknowledges nothing for two of them is gone."""
        super().__init__(SSE, stall_timeout)
        self._heartbeat = heartbeat

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the kernel notice a peer that vanished: a stream gets no answer to its comments."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if self._heartbeat and connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = int(self._heartbeat * 2000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def data_received(self, data: bytes) -> None:
        """Nothing is expected of the client."""

    def eof_received(self) -> None:
        """The client is done: the transport is closed."""
        self._leave()

    def pulse(self, interval: float) -> None:
        """A comment, so that no proxy takes the connection for idle."""
        if self.ready:
            self.transport.write(b":\n\n")

    def restart(self) -> None:
        """Close: the client comes back by itself, with the id of what it saw last."""
        if not self._leaving:
            self._end(CLOSE_TIMEOUT)
            self.transport.close()
