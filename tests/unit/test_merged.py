"""Several topics on one connection."""

import json
from typing import Any

import pytest
from hypothesis import settings

import aionotify.fanout
from aionotify.eventstream import EventStream
from aionotify.hub import Hub
from aionotify.merged import MergedTopics
from aionotify.subscriber import State
from tests.support.builders import STALL_TIMEOUT
from tests.support.loop import HandLoop
from tests.support.merges import Merges
from tests.support.topics import World
from tests.support.transport import FakeTransport

Merges.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestMerges = Merges.TestCase


def joined(world: World, names: str = "ab", room: float = float("inf")) -> FakeTransport:
    """Return the connection of a client of several topics, which has yet to be caught up."""
    subscriber = EventStream(STALL_TIMEOUT, chunked=False)
    transport = FakeTransport(subscriber, room)
    world.subscription(names).subscribe_recent(subscriber, [], b"")
    return transport


def events(data: bytes) -> list[dict[str, Any]]:
    """Return the objects in server-sent events."""
    blocks = data.decode().split("\n\n")
    return [json.loads(each.partition("data: ")[2]) for each in blocks if each]


def test_news_of_one_topic_is_shared(loop: HandLoop) -> None:
    """The batch is the same object for clients of one topic and of several."""
    world = World(1000, 1 << 20)
    batches: list[bytes] = []

    class Recording(FakeTransport):
        def write(self, data: Any) -> None:
            batches.append(data)
            super().write(data)

    for names in ("a", "ab", "ca"):
        subscriber = EventStream(STALL_TIMEOUT, chunked=False)
        Recording(subscriber)
        world.subscription(names).subscribe_recent(subscriber, [], b"")
    loop.settle()
    batches.clear()
    world.publish("a", 10)
    loop.settle()
    assert len(batches) == 3
    assert batches[0] is batches[1] is batches[2]
    assert world.stats.delivered == 3


def test_news_of_all_topics_is_one_write(loop: HandLoop) -> None:
    """In the order of publishing, and counted once."""
    world = World(1000, 1 << 20)
    client = joined(world)
    loop.settle()
    client.take()
    writes = client.writes
    published = [world.publish(name).id for name in "abbaab"]
    loop.settle()
    assert [int(each["id"]) for each in events(client.take())] == published
    assert client.writes == writes + 1
    assert world.stats.delivered == 6


def test_long_news_is_left_to_the_replay(loop: HandLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into one write follows later, after others had their turn."""
    monkeypatch.setattr(aionotify.fanout, "REPLAY_SLICE", -1)
    monkeypatch.setattr(aionotify.fanout, "TIME_SLICE", -1)
    world = World(1000, 1 << 24)
    client = joined(world)
    loop.settle()
    client.take()
    published = [world.publish(name, 40_000).id for name in "abab"]
    loop.turn()
    assert client.protocol.state.name == State.REPLAYING.name
    assert len(events(client.take())) == 2
    loop.settle()
    assert client.protocol.state.name == State.OPEN.name
    assert [int(each["id"]) for each in events(client.take())] == published[2:]


def test_neighboring_gaps_are_one(loop: HandLoop) -> None:
    """With the number that was missed over all topics."""
    world = World(1, 1 << 20)
    client = joined(world, room=0)
    loop.settle()
    for name in "aabb":
        world.publish(name)
    world.topics["a"].history.expire(3)
    client.accept()
    loop.settle()
    _, gap, last = events(client.take())
    assert gap == {"type": "gap", "missed": 3, "id": "3"}
    assert last["id"] == "4"
    assert world.stats.gaps == 1


def test_client_is_counted_and_pinged_once(loop: HandLoop) -> None:
    hub = Hub(10, 60, 10)
    topics = [hub.create_topic(name) for name in "abc"]
    subscriber = EventStream(STALL_TIMEOUT, chunked=False)
    transport = FakeTransport(subscriber)
    hub.merge(topics).subscribe_recent(subscriber, [], b"")
    assert hub.connected == 1
    assert list(hub.subscribers()) == [subscriber]
    transport.lose()
    loop.settle()
    assert hub.connected == 0
    assert hub.topics == 0


def test_broken_transport_disconnects(loop: HandLoop) -> None:
    """An error while several topics are written concerns that client alone."""
    world = World(1000, 1 << 20)
    broken, other = joined(world), joined(world)
    loop.settle()
    other.take()

    def fail() -> None:
        raise OSError("broken")

    broken.on_write = fail
    world.publish("a")
    world.publish("b")
    loop.settle()
    assert broken.aborted
    assert len(events(other.take())) == 2


def test_names_are_in_the_order_of_the_client(loop: HandLoop) -> None:
    world = World(1000, 1 << 20)
    merged = world.subscription("cab")
    assert isinstance(merged, MergedTopics)
    assert merged.names == ["c", "a", "b"]


def resumed(world: World, since: int, room: float = float("inf")) -> FakeTransport:
    """Return the connection of a client of two topics that resumes after `since`."""
    subscriber = EventStream(STALL_TIMEOUT, chunked=False)
    transport = FakeTransport(subscriber, room)
    world.subscription("ab").subscribe_since(subscriber, since, b"")
    return transport


def test_id_that_no_topic_knows_gets_a_gap(loop: HandLoop) -> None:
    """Although nothing that is older than it was lost."""
    world = World(1000, 1 << 20)
    world.publish("a")
    client = resumed(world, 5)
    loop.settle()
    assert [each["type"] for each in events(client.take())] == ["gap", "subscribed"]


def test_client_is_caught_up_after_its_gap(loop: HandLoop) -> None:
    """Its position must not be one from which the lost notifications are missing again."""
    world = World(2, 1 << 20)
    first = world.publish("b")
    world.publish("a")
    client = resumed(world, first.id, room=0)
    client.protocol.write(b"x" * 10, 0)
    for _ in range(3):
        world.publish("a")
    client.accept()
    loop.settle()
    gap, position = (each for each in events(client.take()[10:]) if each["type"] != "notification")
    assert (gap["type"], position["type"]) == ("gap", "subscribed")
    assert int(position["id"]) >= int(gap["id"])
