"""From the stream into the histories: what is complete since when, and who gets a gap."""

import asyncio

import pytest

from aionotify.broker.nats.stream import Info, Message, Place
from aionotify.errors import KeyReused
from aionotify.hub import Hub
from aionotify.notification import Draft, Notification
from tests.support.builders import join
from tests.support.nats_remote import LIMIT, FakeRemote, new_delivery


class Node:
    """A hub that is fed by hand."""

    def __init__(self, first: int = 101) -> None:
        self.hub = Hub(LIMIT, 1e10, 100)
        self.remote = FakeRemote()
        self.remote.first_seq = first
        self.delivery = new_delivery(self.hub, self.remote)
        self.delivery.begin(Info("then", first, 0, 0, self.remote.wanted()), first - 1)

    async def deliver(self, *seqs: int, topic: str = "main", key: str = "") -> None:
        """Deliver messages that are their numbers."""
        for seq in seqs:
            notification = Notification(seq, seq, str(seq), topic)
            await self.delivery.deliver(Message(Place(seq, seq), notification, key))

    async def start(self) -> None:
        """Note that the stream was read for the first time."""
        await self.delivery.filled(current=True)

    def complete(self, id: int, topic: str = "main") -> bool:
        """Return whether a client that resumes after `id` misses nothing."""
        found = self.hub.get_topic(topic) or self.hub.create_topic(topic)
        return found.history.after(id)[1]


async def test_topic_below_its_limit_is_complete_since_the_first() -> None:
    node = Node(first=101)
    await node.deliver(110, 111)
    await node.start()
    assert [node.complete(id) for id in (99, 100, 105, 111)] == [False, True, True, True]
    assert [node.complete(id, "quiet") for id in (99, 100, 111)] == [False, True, True]


async def test_topic_at_its_limit_may_have_lost_older_ones() -> None:
    node = Node(first=101)
    await node.deliver(110, 111, 112)
    node.remote.put("s.main", LIMIT, 110)
    await node.start()
    assert [node.complete(id) for id in (108, 109, 112)] == [False, True, True]
    assert node.complete(100, "quiet")


async def test_messages_removed_during_the_start_are_not_promised() -> None:
    """The topic had 110 to 112 when it was read first, then 112 to 114, and 116 at the end."""
    node = Node(first=101)
    await node.deliver(110, 112, 113, 114, 116)
    node.remote.put("s.main", LIMIT, 113)
    await node.start()
    assert [node.complete(id) for id in (110, 111, 112, 116)] == [False, False, True, True]


async def test_start_promises_nothing_beyond_what_was_read() -> None:
    """All that was read was removed meanwhile, and a replica that lags may still have the rest."""
    node = Node(first=101)
    await node.deliver(110)
    node.remote.first_seq = 150
    node.remote.put("s.main", LIMIT, 160)
    await node.start()
    await node.deliver(120, 160)
    for topic in ("main", "quiet"):
        assert [node.complete(id, topic) for id in (109, 110, 120)] == [False, True, True]


async def test_messages_expired_during_the_start_are_not_promised() -> None:
    node = Node(first=101)
    await node.deliver(110, 120)
    node.remote.first_seq = 115
    await node.start()
    for topic in ("main", "quiet"):
        assert [node.complete(id, topic) for id in (110, 113, 114)] == [False, False, True]


async def test_id_beyond_the_stream_is_not_complete() -> None:
    node = Node()
    await node.deliver(110)
    assert [node.complete(id) for id in (110, 111)] == [True, False]


async def test_place_without_notification_counts() -> None:
    node = Node()
    await node.delivery.deliver(Message(Place(110, 110), None, ""))
    assert node.complete(110)


async def test_hole_is_a_gap_in_the_topic_that_overflowed() -> None:
    """Its subscriber cannot be told in text, and is closed; the other one misses nothing."""
    node = Node()
    await node.deliver(101, 102)
    await node.start()
    here = join(node.hub.create_topic("other"))
    there = join(node.hub.get_topic("main") or node.hub.create_topic("main"))
    node.remote.put("s.main", LIMIT, 201)
    await node.delivery.lost(199)
    await node.deliver(200, topic="other")
    await node.deliver(201, 202, 203)
    assert [node.complete(id) for id in (102, 198, 199, 203)] == [False, False, True, True]
    assert node.complete(102, "other")
    await _turns()
    assert here.sent.endswith(b"200")
    assert b"\x03\xf5too slow" in there.sent


async def test_suspect_promises_nothing_before_it_is_looked_up() -> None:
    """Its next notification would tell; a client that resumes now needs to know before."""
    node = Node()
    await node.deliver(101)
    await node.deliver(102, topic="other")
    await node.start()
    node.remote.put("s.main", LIMIT, 300)
    node.remote.put("s.other", LIMIT, 102)
    await node.delivery.lost(199)
    await node.delivery.refresh("other")
    assert [node.delivery.open(each).history.after(102)[1] for each in ("main", "other")] == [
        False,
        True,
    ]
    assert node.complete(199)


async def test_unexplained_hole_is_a_gap_everywhere() -> None:
    node = Node()
    await node.deliver(101, 102)
    await node.start()
    await node.delivery.lost(199)
    await node.deliver(200)
    assert [node.complete(id) for id in (102, 198, 199, 200)] == [False, False, True, True]
    assert [node.complete(id, "quiet") for id in (102, 199)] == [False, True]


async def test_restart_is_a_gap_everywhere() -> None:
    node = Node()
    await node.deliver(101, 102)
    await node.start()
    node.delivery.restart(999)
    await node.deliver(1000)
    assert [node.complete(id) for id in (102, 999, 1000)] == [False, True, True]


async def test_published_is_what_arrived() -> None:
    node = Node()
    with node.delivery.expecting(["k"]):
        await node.deliver(101, key="k")
        assert node.delivery.published(Draft("main", "101", 3), "k", 101).id == 101
    # Known before, with the same key: from the history.
    assert node.delivery.published(Draft("main", "101", 3), "k", 101).time == 101


async def test_key_of_another_message_raises() -> None:
    node = Node()
    await node.deliver(101)
    with pytest.raises(KeyReused):
        node.delivery.published(Draft("main", "other", 5), "k", 101)


async def test_published_is_known_by_its_number_when_it_is_gone() -> None:
    node = Node()
    found = node.delivery.published(Draft("main", "x", 1), "k", 50)
    assert (found.id, found.message) == (50, "x")


async def _turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)
