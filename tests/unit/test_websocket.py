"""One WebSocket client: the closing handshake, protocol errors, pings, and backpressure."""

import pytest

from aionotify.encoders import TEXT
from aionotify.websocket import CLOSE_TIMEOUT, FRAMES_PER_TURN, MAX_UNSENT, WebSocketSubscriber
from tests.support.builders import FakeFeed
from tests.support.frames import masked
from tests.support.loop import HandLoop
from tests.support.transport import FakeTransport

STALL = 8.0
"""The stall time-out of these clients, in seconds."""

EMPTY_CLOSE = masked(0x88, b"")

ERRORS = {
    "binary": (masked(0x82, b"x"), 1003),
    "not UTF-8": (masked(0x81, b"\xff"), 1007),
    "too big": (masked(0x81, b"x" * 101), 1009),
    "not masked": (b"\x81\x01x", 1002),
    "invalid close code": (masked(0x88, b"\x03\xed"), 1002),
    "invalid close reason": (masked(0x88, b"\x03\xe8\xff"), 1007),
}
"""Frames that end a connection, each with the code with which it is closed."""


class Client:
    """A subscriber on a fake connection, and the messages received from it."""

    def __init__(self, room: float = float("inf"), limit: int = 1 << 20) -> None:
        self.feed = FakeFeed()
        self.received: list[str] = []
        self.answer = ""
        self.error: Exception | None = None
        self.subscriber = WebSocketSubscriber(
            TEXT, STALL, admin=False, limit=limit, receive=self.receive
        )
        self.subscriber.topic = self.feed
        self.transport = FakeTransport(self.subscriber, room)

    async def receive(self, subscriber: WebSocketSubscriber, text: str) -> None:
        self.received.append(text)
        if self.error is not None:
            raise self.error
        if self.answer:
            subscriber.reply(self.answer)

    def say(self, data: bytes) -> None:
        self.subscriber.data_received(data)


def close_code(data: bytes) -> int:
    """Return the code in `data`, which must be one close frame and nothing else."""
    assert data[0] == 0x88
    assert data[1] == len(data) - 2
    return int.from_bytes(data[2:4], "big")


# ------------------------------------------------------------------------- the closing handshake


def test_close_is_answered_with_its_code(loop: HandLoop) -> None:
    """Then the connection is closed, and no timer is left."""
    client = Client()
    client.say(masked(0x88, b"\x03\xe8bye"))
    assert client.transport.take() == b"\x88\x02\x03\xe8"
    assert client.transport.is_closing()
    loop.settle()
    assert not client.subscriber.connected
    assert loop.timers == 0


def test_empty_close_is_echoed(loop: HandLoop) -> None:
    """A close frame without a status is answered with one without, as in the FastAPI version."""
    client = Client()
    client.say(EMPTY_CLOSE)
    assert client.transport.take() == b"\x88\x00"
    loop.settle()
    assert not client.subscriber.connected


def test_close_answer_ends_connection(loop: HandLoop) -> None:
    """The client's answer to our close frame is not answered again."""
    client = Client()
    client.subscriber.close(1012, "later")
    assert client.transport.take() == b"\x88\x07\x03\xf4later"
    assert client.feed.unsubscribed == [client.subscriber]
    assert client.subscriber.connected
    client.say(masked(0x88, b"\x03\xf4"))
    loop.settle()
    assert not client.subscriber.connected
    assert client.transport.take() == b""
    assert not client.transport.aborted


def test_unanswered_close_disconnects(loop: HandLoop) -> None:
    client = Client()
    client.subscriber.close(1012)
    loop.advance(CLOSE_TIMEOUT - 0.1)
    assert client.subscriber.connected
    loop.advance(0.2)
    assert not client.subscriber.connected
    assert client.transport.aborted


def test_stalled_close_disconnects(loop: HandLoop) -> None:
    """A client that is being closed is disconnected although its buffer never drains."""
    client = Client(room=0)
    client.subscriber.write(b"x" * 1000, 1)
    client.say(EMPTY_CLOSE)
    loop.settle()
    assert client.subscriber.connected
    loop.advance(CLOSE_TIMEOUT + 0.1)
    assert not client.subscriber.connected
    assert client.transport.aborted


def test_nothing_is_sent_after_close(loop: HandLoop) -> None:
    """Neither another close frame, nor replies and pongs."""
    client = Client()
    client.subscriber.close(1012)
    client.transport.take()
    client.subscriber.close(1013)
    client.subscriber.reply("too late")
    client.subscriber.ping(25)
    client.say(masked(0x89, b"x") + masked(0x81, b"unheard"))
    loop.settle()
    assert client.transport.take() == b""
    assert client.received == []


def test_eof_unsubscribes(loop: HandLoop) -> None:
    """The client may end the connection without a closing handshake."""
    client = Client()
    assert not client.subscriber.eof_received()  # type: ignore[func-returns-value]
    assert client.feed.unsubscribed == [client.subscriber]
    client.transport.close()
    loop.settle()
    assert loop.timers == 0


def test_eof_disconnects_stalled_client(loop: HandLoop) -> None:
    client = Client(room=0)
    client.subscriber.write(b"x", 1)
    client.subscriber.eof_received()
    client.transport.close()
    loop.advance(CLOSE_TIMEOUT + 0.1)
    assert not client.subscriber.connected


# ------------------------------------------------------------------------------- protocol errors


@pytest.mark.parametrize("name", ERRORS)
def test_error_closes_with_its_code(loop: HandLoop, name: str) -> None:
    data, code = ERRORS[name]
    client = Client(limit=100)
    client.say(data)
    loop.settle()
    assert close_code(client.transport.take()) == code
    assert client.subscriber.connected
    loop.advance(CLOSE_TIMEOUT + 0.1)
    assert not client.subscriber.connected


def test_error_ends_input(loop: HandLoop) -> None:
    """Messages before the error are processed, and none after it."""
    client = Client()
    client.say(masked(0x81, b"good") + b"\x81\x01x" + masked(0x81, b"bad"))
    loop.settle()
    assert client.received == ["good"]


def test_error_after_disconnect_is_harmless(loop: HandLoop) -> None:
    client = Client()
    client.say(masked(0x81, b"x") * FRAMES_PER_TURN + b"\x81\x01x")
    client.transport.lose()
    loop.settle()
    assert client.received == ["x"] * FRAMES_PER_TURN


# --------------------------------------------------------------------------------- ping and pong


def test_ping_is_answered_with_its_payload(loop: HandLoop) -> None:
    client = Client()
    client.say(masked(0x89, b"abc"))
    assert client.transport.take() == b"\x8a\x03abc"


def test_any_input_counts_as_pong(loop: HandLoop) -> None:
    """Our pings are empty, and even half a frame shows that the client is alive."""
    client = Client()
    client.subscriber.ping(25)
    assert client.transport.take() == b"\x89\x00"
    assert client.subscriber.missed_pongs == 1
    client.say(b"\x8a")
    assert client.subscriber.missed_pongs == 0


def test_lagging_client_is_not_pinged(loop: HandLoop) -> None:
    client = Client(room=0)
    client.subscriber.write(b"x", 1)
    client.subscriber.ping(25)
    assert client.subscriber.missed_pongs == 0
    client.transport.accept()
    assert client.transport.take() == b"x"


def test_unread_pongs_are_bounded(loop: HandLoop) -> None:
    """A client that reads nothing has one pong buffered, and one to come for its last ping."""
    client = Client(room=0)
    for number in range(2_000):
        client.say(masked(0x89, b"%0100d" % number))
        loop.settle()
    assert client.transport.largest <= 102
    client.transport.accept()
    loop.settle()
    answers = client.transport.take()
    assert answers == b"\x8a\x64%0100d" % 0 + b"\x8a\x64%0100d" % 1_999


def test_ping_flood_yields_to_loop(loop: HandLoop) -> None:
    """Pings received at once are handled in turns of the loop, and reading pauses meanwhile."""
    client = Client()
    client.say(masked(0x89, b"") * 1000)
    assert len(client.transport.take()) == FRAMES_PER_TURN * 2
    assert not client.transport.reading
    loop.settle()
    assert len(client.transport.take()) == (1000 - FRAMES_PER_TURN) * 2
    assert client.transport.reading


# -------------------------------------------------------------------------------------- messages


def test_messages_are_processed_in_order(loop: HandLoop) -> None:
    """Reading pauses until all of them are processed."""
    client = Client()
    client.say(b"".join(masked(0x81, b"%d" % number) for number in range(200)))
    assert not client.transport.reading
    loop.settle()
    assert client.received == [str(number) for number in range(200)]
    assert client.transport.reading


def test_message_outlives_its_sender(loop: HandLoop) -> None:
    client = Client()
    client.say(masked(0x81, b"last words") + EMPTY_CLOSE)
    client.transport.lose()
    loop.settle()
    assert client.received == ["last words"]


def test_unread_replies_pause_reading(loop: HandLoop) -> None:
    """Replies that the client does not read are bounded; it loses none when it reads again."""
    client = Client(room=0)
    client.answer = "x" * 1000
    client.say(masked(0x81, b"hello") * 1000)
    loop.settle()
    assert MAX_UNSENT < client.transport.largest < MAX_UNSENT + 1100
    assert not client.transport.reading
    client.transport.accept()
    loop.settle()
    assert client.received == ["hello"] * 1000
    assert client.transport.take() == (b"\x81\x7e\x03\xe8" + b"x" * 1000) * 1000
    assert client.transport.reading


def test_disconnect_cancels_blocked_task(loop: HandLoop) -> None:
    """A client with unread replies leaves no task and no timer behind."""
    client = Client(room=0)
    client.answer = "x" * 1000
    client.say(masked(0x81, b"hello") * 100)
    loop.settle()
    loop.advance(STALL * 2)
    assert not client.subscriber.connected
    assert client.subscriber._inbox is None
    assert (loop.idle, loop.timers) == (True, 0)


def test_bug_disconnects_client(loop: HandLoop) -> None:
    """An exception while a message is processed reaches the event loop."""
    client = Client()
    client.error = ValueError("a bug")
    client.say(masked(0x81, b"hello"))
    inbox = client.subscriber._inbox
    assert inbox is not None
    assert inbox.task is not None
    loop.settle()
    assert client.transport.aborted
    assert inbox.task.exception() is client.error


def test_gap_closes_text_client(loop: HandLoop) -> None:
    """The text format cannot report a gap: the client is closed with 1013."""
    client = Client()
    client.subscriber.skip_to(5, 1)
    assert close_code(client.transport.take()) == 1013
