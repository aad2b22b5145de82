"""One WebSocket client at its end: the last frames, and the end of our side of the stream."""

import asyncio

import pytest

import aionotify.subscriber
from aionotify.encoders import TEXT
from aionotify.stall import Acceptance
from aionotify.stats import DisconnectReason
from aionotify.websocket import CLOSE_TIMEOUT, QUIET, WebSocketSubscriber
from tests.support.builders import FakeFeed
from tests.support.frames import masked
from tests.support.loop import HandLoop
from tests.support.transport import FakeTransport

STALL = 8.0
HEARTBEAT = 25.0
REPLY = b"\x81\x06heard "
TOO_BIG = masked(0x81, b"x" * 200)


class Client:
    """A subscriber on a fake connection that gets a reply to each message."""

    def __init__(self) -> None:
        self.feed = FakeFeed()
        self.subscriber = WebSocketSubscriber(
            TEXT, STALL, admin=False, limit=100, receive=self.receive
        )
        self.subscriber.topic = self.feed
        self.transport = FakeTransport(self.subscriber)

    async def receive(self, subscriber: WebSocketSubscriber, text: str) -> None:
        subscriber.reply("heard ")

    def say(self, data: bytes) -> None:
        self.subscriber.data_received(data)


@pytest.fixture
def client(loop: HandLoop) -> Client:
    """A connected client."""
    return Client()


# ------------------------------------------------------------------------------ in which order


@pytest.mark.parametrize("messages", [1, 3, 200])
def test_replies_precede_close(loop: HandLoop, client: Client, messages: int) -> None:
    """Everything that arrived before a close frame is answered before it."""
    client.say(masked(0x81, b"x") * messages + masked(0x88, b"\x03\xe8") + masked(0x81, b"y"))
    loop.settle()
    assert client.transport.take() == REPLY * messages + b"\x88\x02\x03\xe8"
    assert not client.subscriber.connected
    assert loop.timers == 0


@pytest.mark.parametrize(
    ("violation", "code"),
    [
        (masked(0xC1, b"x"), 1002),
        (masked(0x82, b"x"), 1003),
        (masked(0x81, b"\xff"), 1007),
        (TOO_BIG, 1009),
    ],
    ids=str,
)
def test_replies_precede_failure(
    loop: HandLoop, client: Client, violation: bytes, code: int
) -> None:
    """Everything that arrived before a violation is answered, and nothing after it."""
    client.say(masked(0x81, b"x") * 2 + violation + masked(0x81, b"x") + masked(0x89, b""))
    loop.settle()
    sent = client.transport.take()
    assert sent.startswith(REPLY * 2 + b"\x88")
    assert int.from_bytes(sent[len(REPLY * 2) + 2 :][:2], "big") == code
    assert len(sent) == len(REPLY * 2) + 2 + sent[len(REPLY * 2) + 1]
    assert client.transport.reading


def test_close_within_message_is_answered(loop: HandLoop, client: Client) -> None:
    """A close frame may come between the fragments of a message, which then never ends."""
    client.say(masked(0x01, b"x") + masked(0x88, b""))
    assert client.transport.take() == b"\x88\x00"


# ------------------------------------------------------------------------- the end of a failure


def test_end_is_not_behind_failure(loop: HandLoop, client: Client) -> None:
    """A proxy that sees our end together with the close frame may lose the frame."""
    client.say(TOO_BIG)
    assert client.transport.take()[:2] == b"\x88\x23"
    assert not client.transport.eof
    loop.advance(QUIET * 1.1)
    assert client.transport.eof
    assert client.subscriber.connected
    client.transport.close()
    loop.settle()
    assert loop.timers == 0


def test_end_waits_for_input(loop: HandLoop, client: Client) -> None:
    """Data under way is read first: closing with unread data resets the connection."""
    client.say(TOO_BIG)
    for _ in range(8):
        loop.advance(QUIET * 0.9 - 0.01)
        client.say(b"more")
        assert not client.transport.eof
    loop.advance(QUIET * 2)
    assert client.transport.eof
    assert not client.transport.aborted


def test_endless_input_is_cut_off(loop: HandLoop, client: Client) -> None:
    client.say(TOO_BIG)
    for _ in range(int(CLOSE_TIMEOUT / QUIET)):
        assert client.subscriber.connected
        client.say(b"more")
        loop.advance(QUIET)
    loop.settle()
    assert client.transport.aborted
    assert not client.subscriber.connected


def test_end_closes_where_eof_is_impossible(
    loop: HandLoop, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS transports of asyncio have no `write_eof`."""
    monkeypatch.setattr(client.transport, "can_write_eof", lambda: False)
    client.say(TOO_BIG)
    loop.advance(QUIET * 1.1)
    loop.settle()
    assert not client.subscriber.connected
    assert not client.transport.aborted
    assert loop.timers == 0


def test_reset_before_end_is_ignored(
    loop: HandLoop, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio shuts the socket down within `write_eof`, which fails after a reset (Python 3.11)."""
    calls = []

    def write_eof() -> None:
        calls.append(loop.now)
        raise OSError(107, "Transport endpoint is not connected")

    monkeypatch.setattr(client.transport, "write_eof", write_eof)
    client.say(TOO_BIG)
    loop.advance(QUIET * 1.1)
    assert calls == [QUIET]
    client.transport.lose()
    loop.settle()
    assert loop.timers == 0


def test_failure_of_vanished_client_leaves_nothing(loop: HandLoop, client: Client) -> None:
    """It vanishes while the message before the failure is published."""

    async def publish(subscriber: WebSocketSubscriber, text: str) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    client.subscriber._receive = publish
    client.say(masked(0x81, b"x") + TOO_BIG)
    client.transport.lose()
    loop.settle()
    assert not client.subscriber.connected
    assert (loop.idle, loop.timers) == (True, 0)


# ------------------------------------------------------------------------------- slow or silent


def test_slow_client_is_not_silent(
    loop: HandLoop, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pong cannot come before the data in front of the ping, which the client still accepts."""
    now = Acceptance(1000, True)
    monkeypatch.setattr(aionotify.subscriber, "acceptance", lambda transport: now)
    monkeypatch.setattr("aionotify.stall.acceptance", lambda transport: now)
    for _ in range(10):
        client.subscriber.ping(HEARTBEAT)
        now = Acceptance(now.accepted + 1, True)
        loop.advance(STALL)
        assert client.subscriber.connected
    assert client.transport.take() == b"\x89\x00"
    now = Acceptance(now.accepted, False)  # it has everything now, and still does not answer
    for _ in range(2):
        client.subscriber.ping(HEARTBEAT)
        loop.advance(STALL)
    loop.settle()
    assert not client.subscriber.connected
    assert client.feed.stats.disconnected == {DisconnectReason.SILENT: 1}


def test_vanished_client_is_stalled(
    loop: HandLoop, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that acknowledges nothing anymore is disconnected by the stall time-out."""
    gone = Acceptance(1000, True)
    monkeypatch.setattr(aionotify.subscriber, "acceptance", lambda transport: gone)
    monkeypatch.setattr("aionotify.stall.acceptance", lambda transport: gone)
    client.subscriber.ping(HEARTBEAT)
    loop.advance(HEARTBEAT)
    client.subscriber.ping(HEARTBEAT)
    loop.advance(STALL * 1.3)
    assert not client.subscriber.connected
    assert client.feed.stats.disconnected == {DisconnectReason.STALLED: 1}
