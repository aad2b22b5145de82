"""Which topics may have lost messages in a hole of the stream."""

import time
from collections.abc import Callable, Iterable
from typing import cast

import pytest

from aionotify.broker.nats.losses import Limits, Losses
from aionotify.broker.nats.remote import Batch, Remote
from aionotify.broker.nats.stream import Message, Place, Stream
from aionotify.notification import Notification
from tests.support.nats_remote import LIMIT, FakeRemote

NOTHING = Batch([], False)


def notification(seq: int, topic: str = "main") -> Notification:
    return Notification(seq, seq, "x", topic)


def batch(seqs: Iterable[int], topic: str = "main", to_the_end: bool = False) -> Batch:
    return Batch(
        [Message(Place(seq, seq), notification(seq, topic), "") for seq in seqs], to_the_end
    )


@pytest.fixture
def remote() -> FakeRemote:
    return FakeRemote()


@pytest.fixture
def losses(remote: FakeRemote) -> Losses:
    losses = Losses(Stream("s", 100), cast(Remote, remote))
    losses.limits = Limits(LIMIT, 3600.0)
    return losses


def subscribed(*topics: str) -> Callable[[str], bool]:
    """Return a function that knows which topics have subscribers."""
    return lambda name: name in topics


async def decide(losses: Losses, topic: str, seq: int) -> bool:
    """Return whether a topic has lost messages before one that is about to be delivered."""
    if losses.is_suspect(topic):
        await losses.look_up(topic)
    return losses.decide(topic, seq)


async def suspect(
    losses: Losses, remote: FakeRemote, fetched: Batch = NOTHING, oldest: int = 300
) -> None:
    """Let `main` be at its limit, without subscribers, when there is a hole after 100."""
    remote.put("s.main", LIMIT, oldest)
    losses.fetched(fetched)
    assert await losses.in_hole(100, subscribed()) == []
    assert losses.is_suspect("main")


async def test_no_topic_at_its_limit_explains_nothing(losses: Losses, remote: FakeRemote) -> None:
    remote.put("s.main", LIMIT - 1, 1)
    assert await losses.in_hole(100, subscribed("main")) is None


async def test_topic_with_a_message_from_before_the_hole_has_lost_nothing(
    losses: Losses, remote: FakeRemote
) -> None:
    """Another one made the hole: the limit removes the oldest first."""
    remote.put("s.main", LIMIT, 100)
    remote.put("s.other", LIMIT, 101)
    assert await losses.in_hole(100, subscribed("main", "other")) == ["other"]


async def test_later_hole_is_another_loss(losses: Losses, remote: FakeRemote) -> None:
    """Unless the oldest message is from between them."""
    remote.put("s.main", LIMIT, 150)
    remote.put("s.other", LIMIT, 300)
    both = subscribed("main", "other")
    assert await losses.in_hole(100, both) == ["other", "main"]
    assert await losses.in_hole(200, both) == ["other"]
    assert await losses.in_hole(300, both) == []


async def test_topic_that_fills_up_meanwhile_is_noticed(losses: Losses, remote: FakeRemote) -> None:
    """The limits of before tell nothing about a hole before messages that are fetched now."""
    both = subscribed("main", "other")
    remote.put("s.other", LIMIT, 201)
    losses.fetched(batch([201], "other"))
    assert await losses.in_hole(200, both) == ["other"]
    remote.put("s.main", LIMIT, 301)
    remote.put("s.other", LIMIT, 201)
    losses.fetched(batch([301]))
    assert await losses.in_hole(300, both) == ["main"]


async def test_fewer_than_the_limit_behind_the_hole_are_no_loss(
    losses: Losses, remote: FakeRemote
) -> None:
    """As the replica had them, even if the leader has removed more since."""
    remote.put("s.main", LIMIT, 300)
    remote.put("s.other", LIMIT, 300)
    both = subscribed("main", "other")
    losses.fetched(batch([200, 201], to_the_end=True))
    assert await losses.in_hole(100, both) == []
    losses.fetched(batch([200, 201, 202], to_the_end=True))
    assert await losses.in_hole(100, both) == ["main"]
    assert await losses.in_hole(200, both) == []
    losses.fetched(batch([200, 201], to_the_end=False))
    assert await losses.in_hole(100, both) == ["other", "main"]


async def test_topic_without_subscribers_is_decided_by_its_next_message(
    losses: Losses, remote: FakeRemote
) -> None:
    remote.put("s.main", LIMIT, 300)
    remote.put("s.other", LIMIT, 100)
    losses.fetched(batch([200, 300]))
    assert await losses.in_hole(100, subscribed()) == []
    assert await decide(losses, "main", 200)
    assert await decide(losses, "main", 300), "between 200 and 300, too"
    assert not await decide(losses, "main", 301)
    assert not await decide(losses, "other", 302)
    assert not losses.is_suspect("other")


async def test_loss_in_an_earlier_hole_counts(losses: Losses, remote: FakeRemote) -> None:
    """The oldest message is from before the second hole, and not from before the first one."""
    remote.put("s.main", LIMIT, 150)
    for start in (100, 200):
        losses.fetched(batch([start + 50], "other"))
        assert await losses.in_hole(start, subscribed()) == []
    assert await decide(losses, "main", 300)


async def test_topic_without_subscribers_is_decided_by_its_next_subscriber(
    losses: Losses, remote: FakeRemote
) -> None:
    """And belongs to those with subscribers from then on."""
    remote.put("s.main", LIMIT, 300)
    remote.put("s.other", LIMIT, 100)
    assert await losses.in_hole(100, subscribed()) == []
    assert losses.subscribe("other", 150), "not looked up"
    await losses.look_up("main")
    assert losses.subscribe("main", 150)
    assert not losses.is_suspect("main")
    assert sorted(await losses.in_hole(200, subscribed()) or []) == ["main", "other"]


async def test_subscriber_during_the_lookup_is_noticed(losses: Losses, remote: FakeRemote) -> None:
    remote.put("s.main", LIMIT, 300)
    answers = iter([False, True])
    assert await losses.in_hole(200, lambda _: next(answers)) == ["main"]


async def test_state_of_before_is_not_used_for_later_messages(
    losses: Losses, remote: FakeRemote
) -> None:
    """The messages that it was asked for were not delivered: the connection was lost."""
    await suspect(losses, remote, batch([200]), oldest=90)
    remote.put("s.main", LIMIT, 300)
    losses.fetched(batch([300]))
    assert await decide(losses, "main", 300)


async def test_suspect_is_remembered_until_its_next_message(
    losses: Losses, remote: FakeRemote
) -> None:
    await suspect(losses, remote, batch([200], "other"))
    losses.filled(current=False)
    losses.fetched(batch([300]))
    assert await decide(losses, "main", 300)


async def test_topic_without_a_message_until_now_has_lost_nothing(
    losses: Losses, remote: FakeRemote
) -> None:
    """Its retained messages were delivered. Later, everything may have expired."""
    await suspect(losses, remote)
    losses.filled(current=True)
    assert not losses.is_suspect("main")


async def test_another_stream_begins_without_suspects(losses: Losses, remote: FakeRemote) -> None:
    await suspect(losses, remote)
    losses.clear()
    assert not losses.is_suspect("main")


async def test_long_absence_explains_nothing(
    losses: Losses, remote: FakeRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything may have expired."""
    remote.put("s.main", LIMIT, 300)
    later = time.monotonic() + 3601
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert await losses.in_hole(100, subscribed("main")) is None


async def test_oldest_of_full_topics_are_found(losses: Losses, remote: FakeRemote) -> None:
    """Without subjects that are no topics: other programs may publish anything."""
    remote.put("s.a:b", LIMIT, 7)
    remote.put("s.few", 1, 8)
    remote.put("s.no topic", LIMIT, 9)
    assert await losses.oldest_of_full_topics() == {"a.b": 7}


def test_limits_are_read_from_the_configuration() -> None:
    assert Limits.of({"max_msgs_per_subject": 5, "max_age": 2_000_000_000}) == (5, 2.0)
    assert Limits.of({"max_msgs_per_subject": -1, "max_age": 0}) == (-1, float("inf"))
    assert Limits.of({}) == (0, float("inf"))
