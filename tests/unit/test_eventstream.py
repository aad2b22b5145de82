"""One client of server-sent events: heartbeat, and end of the stream."""

from aionotify.encoders import CHUNKED_EVENT_STREAM, EVENT_STREAM
from aionotify.eventstream import EventStream
from aionotify.stats import ClientKind
from tests.support.builders import STALL_TIMEOUT, FakeFeed
from tests.support.loop import HandLoop
from tests.support.transport import FakeTransport

HEARTBEAT = 25

CLOSE_TIMEOUT = 5.0
"""Seconds in which a stream that is closed must end."""


class Client:
    """A subscriber on a fake connection, and its topic."""

    def __init__(self, room: float = float("inf"), *, chunked: bool = False) -> None:
        self.feed = FakeFeed()
        self.subscriber = EventStream(STALL_TIMEOUT, chunked=chunked)
        self.subscriber.topic = self.feed
        self.transport = FakeTransport(self.subscriber, room)


def test_client_receives_events(loop: HandLoop) -> None:
    subscriber = Client().subscriber
    assert subscriber.encoder is EVENT_STREAM
    assert Client(chunked=True).subscriber.encoder is CHUNKED_EVENT_STREAM
    assert subscriber.kind is ClientKind.EVENTS


# ------------------------------------------------------------------------------------- heartbeat


def test_heartbeat_is_one_line(loop: HandLoop) -> None:
    """A blank line behind the comment would be an event without data to some clients."""
    client = Client()
    client.subscriber.ping(HEARTBEAT)
    assert client.transport.take() == b":\n"


def test_heartbeat_is_a_chunk(loop: HandLoop) -> None:
    client = Client(chunked=True)
    client.subscriber.ping(HEARTBEAT)
    assert client.transport.take() == b"2\r\n:\n\r\n"


def test_lagging_stream_gets_no_heartbeat(loop: HandLoop) -> None:
    """A comment would only grow the buffer of a client that does not read."""
    client = Client(room=0)
    client.subscriber.write(b"x", 1)
    client.subscriber.ping(HEARTBEAT)
    client.transport.accept()
    assert client.transport.take() == b"x"


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
    client.subscriber.close_for_restart(CLOSE_TIMEOUT)
    client.subscriber.close_for_restart(CLOSE_TIMEOUT)
    assert client.feed.unsubscribed == [client.subscriber]
    assert client.subscriber.connected
    client.transport.accept()
    loop.settle()
    assert client.transport.take() == b"pending"
    assert not client.subscriber.connected
    assert not client.transport.aborted
    assert loop.timers == 0


def test_restart_ends_chunked_stream(loop: HandLoop) -> None:
    """The last chunk tells the client that the response is complete."""
    client = Client(chunked=True)
    client.subscriber.close_for_restart(CLOSE_TIMEOUT)
    loop.settle()
    assert client.transport.take() == b"0\r\n\r\n"
    assert not client.subscriber.connected


def test_restart_disconnects_stalled_stream(loop: HandLoop) -> None:
    """A client that does not read its pending data is disconnected in the end."""
    client = Client(room=0)
    client.subscriber.write(b"pending", 1)
    client.subscriber.close_for_restart(CLOSE_TIMEOUT)
    loop.advance(CLOSE_TIMEOUT - 0.1)
    assert client.subscriber.connected
    loop.advance(0.2)
    assert not client.subscriber.connected
    assert client.transport.aborted


def test_gap_is_reported_on_skip(loop: HandLoop) -> None:
    """A client that falls out of the history is told the exact number, and goes on."""
    client = Client()
    client.subscriber.cursor = 2
    client.subscriber.skip_to(19, 7)
    assert client.transport.take() == EVENT_STREAM.gap(17, 7)
    assert client.subscriber.cursor == 19
    assert client.feed.stats.gaps == 1
    assert client.subscriber.writable
