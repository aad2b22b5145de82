"""One client of server-sent events: heartbeat, end of the stream, and a peer that vanished."""

import asyncio
import socket
from typing import Any

import pytest

from aionotify.encoders import EVENT_STREAM
from aionotify.eventstream import CLOSE_TIMEOUT, EventStream
from aionotify.stats import ClientKind
from tests.support.builders import STALL_TIMEOUT, FakeFeed
from tests.support.loop import HandLoop
from tests.support.transport import FakeTransport

HEARTBEAT = 25


class Client:
    """A subscriber on a fake connection, and its topic."""

    def __init__(self, room: float = float("inf")) -> None:
        self.feed = FakeFeed()
        self.subscriber = EventStream(STALL_TIMEOUT, HEARTBEAT)
        self.subscriber.topic = self.feed
        self.transport = FakeTransport(self.subscriber, room)


class SocketTransport(asyncio.Transport):
    """A transport with a socket that records its options."""

    def __init__(self) -> None:
        super().__init__()
        self.options: dict[tuple[int, int], int] = {}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options[level, option] = value

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: there is no buffer."""


def test_client_receives_events(loop: HandLoop) -> None:
    subscriber = Client().subscriber
    assert subscriber.encoder is EVENT_STREAM
    assert subscriber.kind is ClientKind.EVENTS


# ------------------------------------------------------------------------------------- heartbeat


def test_heartbeat_is_a_comment(loop: HandLoop) -> None:
    client = Client()
    client.subscriber.ping(HEARTBEAT)
    assert client.transport.take() == b":\n\n"


def test_lagging_stream_gets_no_heartbeat(loop: HandLoop) -> None:
    """A comment would only grow the buffer of a client that does not read."""
    client = Client(room=0)
    client.subscriber.write(b"x", 1)
    client.subscriber.ping(HEARTBEAT)
    client.transport.accept()
    assert client.transport.take() == b"x"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
@pytest.mark.parametrize(("heartbeat", "milliseconds"), [(25, 50_000), (0.5, 1000), (0, None)])
def test_kernel_detects_vanished_peer(heartbeat: float, milliseconds: int | None) -> None:
    """A stream gets no answer to its comments, so the kernel has to time out unanswered data.

    Two heartbeats are allowed for it. Without a heartbeat nothing would be sent regularly.
    """
    transport = SocketTransport()
    EventStream(STALL_TIMEOUT, heartbeat).connection_made(transport)
    option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
    assert transport.options.get(option) == milliseconds


# ----------------------------------------------------------------------------- end of the stream


def test_input_is_ignored(loop: HandLoop) -> None:
    """A pipelined request after the stream began is neither answered nor an error."""
    client = Client()
    client.subscriber.data_received(b"GET / HTTP/1.1\r\n\r\n")
    loop.settle()
    assert client.subscriber.writable
    assert client.transport.take() == b""


def test_eof_unsubscribes(loop: HandLoop) -> None:
    """The client ends the stream: returning nothing makes asyncio close the transport."""
    client = Client()
    assert not client.subscriber.eof_received()  # type: ignore[func-returns-value]
    assert client.feed.unsubscribed == [client.subscriber]
    assert not client.subscriber.writable


def test_restart_ends_stream_after_pending_data(loop: HandLoop) -> None:
    """A client that is slow gets everything written before; the next connection resumes there."""
    client = Client(room=0)
    client.subscriber.write(b"pending", 1)
    client.subscriber.close_for_restart()
    client.subscriber.close_for_restart()
    assert client.feed.unsubscribed == [client.subscriber]
    assert client.subscriber.connected
    client.transport.accept()
    loop.settle()
    assert client.transport.take() == b"pending"
    assert not client.subscriber.connected
    assert not client.transport.aborted
    assert loop.timers == 0


def test_restart_disconnects_stalled_stream(loop: HandLoop) -> None:
    """A client that does not read its pending data is disconnected in the end."""
    client = Client(room=0)
    client.subscriber.write(b"pending", 1)
    client.subscriber.close_for_restart()
    loop.advance(CLOSE_TIMEOUT - 0.1)
    assert client.subscriber.connected
    loop.advance(0.2)
    assert not client.subscriber.connected
    assert client.transport.aborted


def test_gap_is_reported_on_skip(loop: HandLoop) -> None:
    """A client that falls out of the history is told the exact number, and goes on."""
    client = Client()
    client.subscriber.cursor = 2
    client.subscriber.skip_to(19)
    assert client.transport.take() == EVENT_STREAM.gap(17)
    assert client.subscriber.cursor == 19
    assert client.feed.stats.gaps == 1
    assert client.subscriber.writable
