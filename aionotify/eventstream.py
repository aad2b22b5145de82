"""A subscriber over HTTP: server-sent events (WHATWG HTML §9.2)."""

from aionotify.encoders import CHUNKED_EVENT_STREAM, EVENT_STREAM
from aionotify.stats import ClientKind
from aionotify.subscriber import State, Subscriber


class EventStream(Subscriber):
    """A client of server-sent events. Anything it sends after its request is ignored."""

    __slots__ = ("_format",)

    def __init__(self, stall_timeout: float, *, chunked: bool) -> None:
        """Create a stream, `chunked` for HTTP/1.1: clients of HTTP/1.0 know no chunks."""
        self._format = CHUNKED_EVENT_STREAM if chunked else EVENT_STREAM
        super().__init__(self._format, stall_timeout)

    @property
    def kind(self) -> ClientKind:
        """Server-sent events."""
        return ClientKind.EVENTS

    def data_received(self, data: bytes) -> None:
        """Ignore data after the request."""

    def eof_received(self) -> None:
        """Close the transport: the client has ended the connection."""
        self._leave()

    def ping(self, interval: float) -> None:
        """Send a comment, so that no proxy takes the connection for idle.

        A stream gets no answer to its comments. A peer that vanished does not acknowledge the
        last one, which the stall time-out sees. TCP_USER_TIMEOUT would see it as well, but it also
        cuts off a peer that merely does not read, without a trace in log and metrics.
        """
        if self.writable:
            self._watch_outstanding()
            self.transport.write(self._format.comment)

    def close_for_restart(self, timeout: float) -> None:
        """End the stream: the client reconnects by itself, with the last id that it saw."""
        self.end(timeout)

    def end(self, timeout: float) -> None:
        """End the stream after everything that was written to it, within `timeout` seconds."""
        if self.state < State.CLOSING:
            self.transport.write(self._format.end_of_stream)
            self._close_within(timeout)
            self.transport.close()
