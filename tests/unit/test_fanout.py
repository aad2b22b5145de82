"""The fan-out on connections turned by hand: order, exactness, time slices, bounds, isolation."""

from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import settings

import aionotify.fanout
from aionotify.encoders import MAX_BATCH, TEXT, TextEncoder
from aionotify.fanout import CLOCK_CHECK_EVERY
from aionotify.notification import Notification
from tests.support.builders import LiveTopic
from tests.support.deliveries import Deliveries, numbers
from tests.support.loop import HandLoop, hand_turned


class CountingEncoder(TextEncoder):
    """Encodes text frames, and records the length of each batch."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def encode(self, notifications: Sequence[Notification], *, recent: bool = False) -> bytes:
        self.batches.append(len(notifications))
        return TEXT.encode(notifications, recent=recent)


# -------------------------------------------------------------------------- batches and encoding


def test_pending_notifications_are_one_write(loop: HandLoop) -> None:
    """All notifications published before a pass go out in one write for each client."""
    live = LiveTopic()
    clients = [live.join() for _ in range(3)]
    for _ in range(10):
        live.publish()
    loop.settle()
    for client in clients:
        assert client.writes == 1
        assert numbers(client.take()) == list(range(10))


def test_batch_is_encoded_once_per_position(
    loop: HandLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aionotify.fanout, "time", loop)  # each slice encodes for itself
    live, encoder = LiveTopic(), CountingEncoder()
    clients = [live.join() for _ in range(CLOCK_CHECK_EVERY * 3)]
    for client in clients:
        client.protocol.encoder = encoder
    live.publish()
    live.publish()
    loop.settle()
    assert encoder.batches == [2]


def test_alternating_positions_are_encoded_once(loop: HandLoop) -> None:
    """Two positions that take turns in the order of subscribers are encoded once each."""
    live, encoder = LiveTopic(), CountingEncoder()
    clients = [live.join() for _ in range(10)]
    live.publish()
    loop.settle()
    for at, client in enumerate(clients):
        client.protocol.encoder = encoder
        client.protocol.cursor = at % 2
    live.publish()
    loop.settle()
    assert encoder.batches == [2, 1]


def test_batch_is_bounded(loop: HandLoop) -> None:
    """Notifications that do not fit into one write follow in the next."""
    live = LiveTopic()
    client = live.join()
    for _ in range(10):
        live.publish(MAX_BATCH // 3)
    loop.settle()
    assert numbers(client.take()) == list(range(10))
    assert client.writes >= 4


# ----------------------------------------------------------------------------- passes and slices


def test_wake_without_news_writes_nothing(loop: HandLoop) -> None:
    live = LiveTopic()
    client = live.join()
    live.publish()
    loop.settle()
    live.fanout.wake(live.topic)
    loop.settle()
    assert client.writes == 1
    assert loop.idle


def test_long_pass_yields_to_loop(loop: HandLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass of 1,000 writes of 0.1 ms each is spread over many slices of 4 ms."""
    monkeypatch.setattr(aionotify.fanout, "time", loop)
    live = LiveTopic()
    clients = [live.join() for _ in range(1000)]

    def take_time() -> None:
        loop.now += 0.0001

    for client in clients:
        client.on_write = take_time
    live.publish()
    slices = []
    while not loop.idle:
        before = sum(client.writes for client in clients)
        loop.turn()
        slices.append(sum(client.writes for client in clients) - before)
    assert sum(slices) == 1000
    assert max(slices) <= 40 + CLOCK_CHECK_EVERY
    assert len(slices) >= 1000 / (40 + CLOCK_CHECK_EVERY)


def test_topics_take_turns(loop: HandLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic with one subscriber does not wait for all subscribers of a busy topic."""
    monkeypatch.setattr(aionotify.fanout, "TIME_SLICE", -1)
    busy, quiet = LiveTopic(), LiveTopic()
    quiet.fanout = busy.fanout
    for _ in range(CLOCK_CHECK_EVERY * 10):
        busy.join()
    client = quiet.join()
    busy.publish()
    quiet.publish()
    loop.turn()
    loop.turn()
    assert numbers(client.take()) == [0]


def test_pass_is_counted_and_measured_once(loop: HandLoop) -> None:
    """Every notification counts as delivered, also if one write carries several.

    The duration of a pass is recorded once, and not again for subscribers that lagged.
    """
    live = LiveTopic()
    for _ in range(CLOCK_CHECK_EVERY + 1):
        live.join()
    for _ in range(10):
        live.publish()
    live.topic.first_unsent_at = loop.monotonic() - 1
    loop.settle()
    assert live.stats.delivered == 10 * (CLOCK_CHECK_EVERY + 1)
    assert sum(live.stats.fanout_seconds.counts) == 1
    assert live.stats.fanout_seconds.sum >= 1
    live.topic.pending = deque(live.topic.subscribers)  # as after lagging: not a new pass
    live.fanout.wake(live.topic)
    loop.settle()
    assert sum(live.stats.fanout_seconds.counts) == 1


# ------------------------------------------------------------------- slow and broken subscribers


def test_stalled_client_costs_one_batch(loop: HandLoop) -> None:
    """It delays no other client, and gets everything once it reads again."""
    live = LiveTopic()
    stalled, healthy = live.join(room=0), live.join()
    for number in range(100):
        live.publish(10_000)
        loop.settle()
        assert numbers(healthy.take()) == [number]
    assert stalled.largest <= MAX_BATCH * 1.01
    stalled.accept()
    loop.settle()
    assert numbers(stalled.take()) == list(range(100))


def test_evicted_position_closes_text_client(loop: HandLoop) -> None:
    """A text client whose next notification was evicted is closed with 1013, and no other is."""
    live = LiveTopic(limit=5)
    stalled, healthy = live.join(room=0), live.join()
    for _ in range(10):
        live.publish()
        loop.settle()
    stalled.accept()
    loop.settle()
    sent = stalled.take()
    assert numbers(sent) == [0]
    assert b"\x03\xf5too slow" in sent
    assert stalled.protocol not in live.topic.subscribers
    assert numbers(healthy.take()) == list(range(10))


def test_disconnect_during_pass_is_isolated(loop: HandLoop) -> None:
    live = LiveTopic()
    first, vanishing, last = live.join(), live.join(), live.join()
    vanishing.on_write = vanishing.lose
    live.publish()
    loop.settle()
    live.publish()
    loop.settle()
    assert numbers(first.take()) == numbers(last.take()) == [0, 1]
    assert list(live.topic.subscribers) == [first.protocol, last.protocol]


@pytest.mark.parametrize("error", [RuntimeError("the handler is closed"), OSError("gone")])
def test_failing_transport_is_disconnected_alone(loop: HandLoop, error: Exception) -> None:
    live = LiveTopic()
    first, broken, last = live.join(), live.join(), live.join()

    def fail() -> None:
        raise error

    broken.on_write = fail
    live.publish()
    loop.settle()
    live.publish()
    loop.settle()
    assert numbers(first.take()) == numbers(last.take()) == [0, 1]
    assert list(live.topic.subscribers) == [first.protocol, last.protocol]
    assert broken.aborted


def test_bug_is_reported_and_pass_continues() -> None:
    """An exception that is not a transport's error reaches the event loop; delivery goes on."""
    with hand_turned() as loop:
        live = LiveTopic()
        first, broken, last = live.join(), live.join(), live.join()

        def fail() -> None:
            raise ZeroDivisionError

        broken.on_write = fail
        live.publish()
        loop.settle()
        assert [type(error) for error in loop.errors] == [ZeroDivisionError]
        assert numbers(first.take()) == numbers(last.take()) == [0]
        loop.errors.clear()


# ------------------------------------------------------------------------------------- any order

TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
