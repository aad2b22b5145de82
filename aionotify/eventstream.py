"""A subscriber over HTTP: server-sent events (WHATWG HTML §9.2)."""

import asyncio
import socket

from aionotify.encoders import EVENT_STREAM
from aionotify.stats import ClientKind
from aionotify.subscriber import State, Subscriber

CLOSE_TIMEOUT = 5.0
"""Seconds in which pending data is flushed when a stream ends."""


class EventStream(Subscriber):
    """A client of server-sent events. Anything it sends after its request is ignored."""

    __slots__ = ("_heartbeat",)

    def __init__(self, stall_timeout: float, heartbeat: float) -> None:
        """Create a stream; a peer that acknowledges nothing for two heartbeats is gone."""
        super().__init__(EVENT_STREAM, stall_timeout)
        self._heartbeat = heartbeat

    @property
    def kind(self) -> ClientKind:
        """Server-sent events."""
        return ClientKind.EVENTS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over `transport`, and let the kernel detect a peer that vanished.

        A stream gets no answer to its comments, so the server cannot tell by itself.
        """
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if self._heartbeat and connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = int(self._heartbeat * 2000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def data_received(self, data: bytes) -> None:
        """Ignore data after the request."""

    def eof_received(self) -> None:
        """Close the transport: the client has ended the connection."""
        self._leave()

    def ping(self, interval: float) -> None:
        """Send a comment, so that no proxy takes the connection for idle."""
        if self.writable:
            self.transport.write(b":\n\n")

    def close_for_restart(self) -> None:
        """End the stream: the client reconnects by itself, with the last id that it saw."""
        if self.state < State.CLOSING:
            self._close_within(CLOSE_TIMEOUT)
            self.transport.close()
