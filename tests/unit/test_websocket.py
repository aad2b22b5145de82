"""One WebSocket client: the closing handshake, what is refused, pings, and backpressure."""

from collections.abc import Iterator

import pytest

from aionotify.encoders import TEXT
from aionotify.stats import Stats
from aionotify.subscriber import Subscriber
from aionotify.websocket import CLOSE_TIMEOUT, FRAMES_PER_TURN, MAX_UNSENT, WebSocketSubscriber
from tests.support.loop import FakeTransport, HandLoop, hand_turned
from tests.unit.test_frames import masked

STALL = 8.0
EMPTY_CLOSE = masked(0x88, b"")


class Audience:
    """Notes who has left, and who can be written to again."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.gone: list[Subscriber] = []
        self.back: list[Subscriber] = []

    def on_writable(self, subscriber: Subscriber) -> None:
        self.back.append(subscriber)

    def catch_up(self, subscriber: Subscriber) -> None:
        """Nothing was published."""

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self.gone.append(subscriber)


class Client:
    """A subscriber on a fake connection; `received` are the messages that came through."""

    def __init__(self, room: float = float("inf"), limit: int = 1 << 20) -> None:
        self.audience = Audience()
        self.received: list[str] = []
        self.answer = ""
        self.error: Exception | None = None
        self.subscriber = WebSocketSubscriber(
            TEXT, STALL, admin=False, topic="main", limit=limit, receive=self.receive
        )
        self.subscriber.topic = self.audience
        self.transport = FakeTransport(self.subscriber, room)

    async def receive(self, subscriber: WebSocketSubscriber, text: str) -> None:
        self.received.append(text)
        if self.error is not None:
            raise self.error
        if self.answer:
            subscriber.reply(self.answer)

    def say(self, data: bytes) -> None:
        self.subscriber.data_received(data)


@pytest.fixture
def loop() -> Iterator[HandLoop]:
    """The running loop, turned by hand."""
    with hand_turned() as loop:
        yield loop


def close_status(data: bytes) -> int:
    """The status in `data`, which is to be one close frame and nothing else."""
    assert data[0] == 0x88
    assert data[1] == len(data) - 2
    return int.from_bytes(data[2:4], "big")


# ------------------------------------------------------------------------------ the handshake


def test_a_close_frame_is_answered_with_its_status_and_the_connection_closed(
    loop: HandLoop,
) -> None:
    client = Client()
    client.say(masked(0x88, b"\x03\xe8bye"))
    assert client.transport.take() == b"\x88\x02\x03\xe8"
    assert client.transport.is_closing()
    loop.settle()
    assert not client.subscriber.connected
    assert loop.timers == 0


def test_an_empty_close_frame_is_answered(loop: HandLoop) -> None:
    client = Client()
    client.say(EMPTY_CLOSE)
    assert client.transport.take() == b"\x88\x02\x03\xe8"
    loop.settle()
    assert not client.subscriber.connected


def test_the_answer_to_our_close_ends_the_connection_without_another(loop: HandLoop) -> None:
    client = Client()
    client.subscriber.close(1012, "later")
    assert client.transport.take() == b"\x88\x07\x03\xf4later"
    assert client.audience.gone == [client.subscriber]
    assert client.subscriber.connected
    client.say(masked(0x88, b"\x03\xf4"))
    loop.settle()
    assert not client.subscriber.connected
    assert client.transport.take() == b""
    assert not client.transport.aborted


def test_who_does_not_answer_our_close_is_cut_off(loop: HandLoop) -> None:
    client = Client()
    client.subscriber.close(1012)
    loop.advance(CLOSE_TIMEOUT - 0.1)
    assert client.subscriber.connected
    loop.advance(0.2)
    assert not client.subscriber.connected
    assert client.transport.aborted


def test_a_stalled_client_is_cut_off_in_closing_although_its_buffer_never_drains(
    loop: HandLoop,
) -> None:
    client = Client(room=0)
    client.subscriber.write(b"x" * 1000, 1)
    client.say(EMPTY_CLOSE)
    loop.settle()
    assert client.subscriber.connected
    loop.advance(CLOSE_TIMEOUT + 0.1)
    assert not client.subscriber.connected
    assert client.transport.aborted


def test_a_second_close_and_words_after_it_are_not_sent(loop: HandLoop) -> None:
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


def test_the_end_of_the_stream_without_goodbye_frees_the_client(loop: HandLoop) -> None:
    client = Client()
    assert not client.subscriber.eof_received()  # type: ignore[func-returns-value]
    assert client.audience.gone == [client.subscriber]
    client.transport.close()
    loop.settle()
    assert loop.timers == 0


def test_the_end_of_the_stream_of_a_client_that_reads_nothing_is_the_end(loop: HandLoop) -> None:
    client = Client(room=0)
    client.subscriber.write(b"x", 1)
    client.subscriber.eof_received()
    client.transport.close()
    loop.advance(CLOSE_TIMEOUT + 0.1)
    assert not client.subscriber.connected


# ----------------------------------------------------------------------------- what is refused

REFUSED = {
    "binary": (masked(0x82, b"x"), 1003),
    "not UTF-8": (masked(0x81, b"\xff"), 1007),
    "too big": (masked(0x81, b"x" * 101), 1009),
    "not masked": (b"\x81\x01x", 1002),
    "a bad status": (masked(0x88, b"\x03\xed"), 1002),
    "a bad reason": (masked(0x88, b"\x03\xe8\xff"), 1007),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_answered_with_its_status(loop: HandLoop, name: str) -> None:
    data, status = REFUSED[name]
    client = Client(limit=100)
    client.say(data)
    loop.settle()
    assert close_status(client.transport.take()) == status
    assert client.subscriber.connected
    loop.advance(CLOSE_TIMEOUT + 0.1)
    assert not client.subscriber.connected


def test_what_came_before_the_breach_is_received_and_nothing_after_it(loop: HandLoop) -> None:
    client = Client()
    client.say(masked(0x81, b"good") + b"\x81\x01x" + masked(0x81, b"bad"))
    loop.settle()
    assert client.received == ["good"]


def test_a_breach_that_is_read_after_the_connection_was_lost_hurts_nobody(loop: HandLoop) -> None:
    client = Client()
    client.say(masked(0x81, b"x") * FRAMES_PER_TURN + b"\x81\x01x")
    client.transport.lose()
    loop.settle()
    assert client.received == ["x"] * FRAMES_PER_TURN


# --------------------------------------------------------------------------------- ping and pong


def test_a_ping_is_answered_with_its_own_payload(loop: HandLoop) -> None:
    client = Client()
    client.say(masked(0x89, b"abc"))
    assert client.transport.take() == b"\x8a\x03abc"


def test_our_ping_is_empty_and_any_sign_of_life_counts(loop: HandLoop) -> None:
    client = Client()
    client.subscriber.ping(25)
    assert client.transport.take() == b"\x89\x00"
    assert client.subscriber.missed_pongs == 1
    client.say(b"\x8a")
    assert client.subscriber.missed_pongs == 0


def test_a_lagging_client_is_not_pinged(loop: HandLoop) -> None:
    client = Client(room=0)
    client.subscriber.write(b"x", 1)
    client.subscriber.ping(25)
    assert client.subscriber.missed_pongs == 0
    client.transport.accept()
    assert client.transport.take() == b"x"


def test_a_flood_of_pings_by_one_who_reads_nothing_costs_one_answer(loop: HandLoop) -> None:
    client = Client(room=0)
    for number in range(10_000):
        client.say(masked(0x89, b"%0100d" % number))
        loop.settle()
    assert client.transport.largest <= 102
    client.transport.accept()
    loop.settle()
    answers = client.transport.take()
    assert answers == b"\x8a\x64%0100d" % 0 + b"\x8a\x64%0100d" % 9_999


def test_a_flood_of_pings_at_once_is_dealt_with_in_turns(loop: HandLoop) -> None:
    client = Client()
    client.say(masked(0x89, b"") * 1000)
    assert len(client.transport.take()) == FRAMES_PER_TURN * 2
    assert not client.transport.reading
    loop.settle()
    assert len(client.transport.take()) == (1000 - FRAMES_PER_TURN) * 2
    assert client.transport.reading


# ------------------------------------------------------------------------------------- messages


def test_messages_are_received_in_order_while_the_client_is_not_read_from(loop: HandLoop) -> None:
    client = Client()
    client.say(b"".join(masked(0x81, b"%d" % number) for number in range(200)))
    assert not client.transport.reading
    loop.settle()
    assert client.received == [str(number) for number in range(200)]
    assert client.transport.reading


def test_a_message_is_received_although_its_sender_is_gone(loop: HandLoop) -> None:
    client = Client()
    client.say(masked(0x81, b"last words") + EMPTY_CLOSE)
    client.transport.lose()
    loop.settle()
    assert client.received == ["last words"]


def test_who_leaves_answers_unread_is_not_listened_to_any_more(loop: HandLoop) -> None:
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


def test_one_who_is_not_listened_to_leaves_no_task_behind_when_it_is_cut_off(
    loop: HandLoop,
) -> None:
    client = Client(room=0)
    client.answer = "x" * 1000
    client.say(masked(0x81, b"hello") * 100)
    loop.settle()
    loop.advance(STALL * 2)
    assert not client.subscriber.connected
    assert client.subscriber._task is None
    assert (loop.idle, loop.timers) == (True, 0)


def test_an_error_of_ours_ends_that_client(loop: HandLoop) -> None:
    client = Client()
    client.error = ValueError("a bug")
    client.say(masked(0x81, b"hello"))
    task = client.subscriber._task
    assert task is not None
    loop.settle()
    assert client.transport.aborted
    assert task.exception() is client.error


def test_text_cannot_tell_of_a_gap_so_the_client_is_closed_with_1013(loop: HandLoop) -> None:
    client = Client()
    client.subscriber.skip_to(5)
    assert close_status(client.transport.take()) == 1013
