"""Following the stream of a real nats-server: whatever happens to what it sends."""

import asyncio
from collections import deque
from typing import cast

import pytest
from nats.aio.client import Client

import aionotify.broker.nats.follower
from aionotify.broker.nats.follower import Follower
from aionotify.broker.nats.remote import Batch, Remote
from aionotify.broker.nats.stream import Info, Message, Place
from aionotify.errors import NoAnswer
from aionotify.settings import Settings
from aionotify.stats import ClusterStats
from tests.support.broker_contract import Node, drafts, retained
from tests.support.nats_nodes import other_program, running_node
from tests.support.waiting import eventually


async def publish(node: Node, *messages: str) -> list[int]:
    """Publish in `main`."""
    return [each.id for each in await node.broker.publish(drafts(*messages), wait_stored=True)]


async def test_nodes_have_the_same(nats_settings: Settings) -> None:
    async with running_node(nats_settings) as one, running_node(nats_settings) as two:
        ids = await publish(one, "a", "b")
        ids += await publish(two, "c")
        for node in (one, two):
            await node.broker.reach(ids[-1])
            assert retained(node) == ["a", "b", "c"]
            assert node.broker.open("main").history.last_id == ids[-1]


async def test_other_programs_can_publish(nats_settings: Settings) -> None:
    """As `nats pub` does; what is no notification is passed over."""
    subject = f"{nats_settings.nats_stream}.main"
    async with running_node(nats_settings) as node, other_program(nats_settings) as nats:
        await nats.publish(subject, b"\xff")
        await nats.publish(subject, b"Hello", headers={"Aionotify-Title": "Hi"})
        await eventually(lambda: retained(node) == ["Hello"])
        history = node.broker.open("main").history
        assert history.between(history.first, 1)[0].fields == b',"title":"Hi"'


async def test_lost_messages_are_fetched(nats_settings: Settings) -> None:
    async with running_node(nats_settings) as one, running_node(nats_settings) as two:
        two.broker._follower._live = deque(maxlen=0)  # type: ignore[attr-defined]
        ids = await publish(one, "a", "b")
        await two.broker.reach(ids[-1])
        assert retained(two) == ["a", "b"]
        assert two.broker.stats.fills  # type: ignore[attr-defined]


async def test_forged_number_is_not_waited_for(
    nats_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program publishes where only JetStream may: the node goes on all the same."""
    monkeypatch.setattr(aionotify.broker.nats.follower, "LAGGING_PAUSE", 0.001)
    subject = f"{nats_settings.nats_stream}-live.main"
    async with running_node(nats_settings) as node, other_program(nats_settings) as nats:
        (last,) = await publish(node, "a")
        place = {"Nats-Sequence": str(last + 100), "Nats-Time-Stamp": "2026-01-01T00:00:00Z"}
        await nats.publish(subject, b"forged", headers=place)
        await nats.publish(subject, b"no place")
        await publish(node, "b")
        assert retained(node) == ["a", "b"]
        follower = node.broker._follower  # type: ignore[attr-defined]
        confirmed = follower._confirmed
        await eventually(lambda: bool(follower._confirmed > confirmed))


async def test_deleted_stream_is_a_gap(nats_settings: Settings) -> None:
    async with running_node(nats_settings) as node, other_program(nats_settings) as nats:
        (before,) = await publish(node, "a")
        await delete(nats, nats_settings)
        (after,) = await publish(node, "b")
        assert after > before
        assert retained(node) == ["b"]
        history = node.broker.open("main").history
        assert history.after(before)[1] is False
        assert history.after(after)[1] is True


async def test_deletion_is_noticed_under_steady_traffic(
    nats_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader is asked in silence, and there is none: the hole before the message tells."""
    monkeypatch.setattr(aionotify.broker.nats.follower, "SILENCE", 1000)
    async with running_node(nats_settings) as node, other_program(nats_settings) as nats:
        (before,) = await publish(node, "a")
        await delete(nats, nats_settings)
        await node.broker._remote.info()  # type: ignore[attr-defined]  # creates it
        await publish(node, "b")
        assert retained(node) == ["b"]
        assert node.broker.open("main").history.after(before)[1] is False
        assert node.broker.stats.went_back == 1  # type: ignore[attr-defined]


async def test_node_starts_under_steady_traffic(
    nats_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no leader when it asks first, and then never a moment of silence."""
    async with running_node(nats_settings) as one:
        monkeypatch.setattr(aionotify.broker.nats.follower, "SILENCE", 1000)
        faults = iter([NoAnswer("no leader")])
        answer = Remote.info

        async def info(remote: Remote, *, create: bool = True) -> Info:
            for error in faults:
                raise error
            return await answer(remote, create=create)

        monkeypatch.setattr(Remote, "info", info)

        async def publish_always() -> None:
            while True:
                await publish(one, "x")

        async with asyncio.TaskGroup() as group:
            traffic = group.create_task(publish_always())
            async with running_node(nats_settings) as two:
                started = two.broker._follower.started  # type: ignore[attr-defined]
            traffic.cancel()
        assert started


async def test_removed_messages_are_a_gap(nats_settings: Settings) -> None:
    """They were removed while this node could not see them."""
    stream = nats_settings.nats_stream
    async with running_node(nats_settings) as node, other_program(nats_settings) as nats:
        (before,) = await publish(node, "a")
        follower = node.broker._follower  # type: ignore[attr-defined]
        await eventually(lambda: follower.current)
        node.broker._tasks[0].cancel()  # type: ignore[attr-defined]
        for message in (b"b", b"c"):
            await nats.request(f"{stream}.main", message)
        await nats.request(f"$JS.API.STREAM.PURGE.{stream}", b'{"keep":1}')
        await eventually(lambda: len(follower._live) == 2)
        follower._live.clear()
        node.broker._tasks.append(asyncio.create_task(follower.run()))  # type: ignore[attr-defined]
        await eventually(lambda: retained(node) == ["c"])
        assert node.broker.open("main").history.after(before)[1] is False


class Telling:
    """A delivery that tells subscribers of each loss, and fails once."""

    def __init__(self) -> None:
        self.delivered: list[int] = []
        self.told: list[int] = []

    def begin(self, info: Info, complete_since: int) -> None:
        pass

    def fetched(self, batch: Batch) -> None:
        pass

    async def filled(self, *, current: bool) -> None:
        pass

    def restart(self, complete_since: int) -> None:
        pass

    async def lost(self, upto: int) -> None:
        self.told.append(upto)

    async def deliver(self, message: Message) -> None:
        if len(self.told) == 1 and not self.delivered:
            self.delivered.append(0)
            raise NoAnswer("lost")
        self.delivered.append(message.place.seq)


async def test_nothing_follows_that_was_told_to_be_missing() -> None:
    """Another replica has it, when the first one has failed."""
    batches = iter([[105], [102, 103, 104, 105]])

    class Replicas:
        async def info(self) -> Info:
            return Info("then", 101, 105, 5, {})

        async def batch(self, seq: int) -> Batch:
            return Batch([Message(Place(each, each), None, "") for each in next(batches)], True)

    delivery = Telling()
    follower = Follower(cast(Remote, Replicas()), delivery, ClusterStats())
    with pytest.raises(NoAnswer):
        await follower._ask()
    await follower._ask()
    assert delivery.told == [104]
    assert delivery.delivered == [0, 105]


async def test_answer_of_before_is_no_answer(nats_settings: Settings) -> None:
    """A request that arrives while the leader is asked waits for the next answer."""
    async with running_node(nats_settings) as node:
        follower = node.broker._follower  # type: ignore[attr-defined]
        node.broker._tasks[0].cancel()  # type: ignore[attr-defined]
        first = asyncio.create_task(follower.reach_leader())
        await asyncio.sleep(0)
        asking = asyncio.create_task(follower._ask())
        await asyncio.sleep(0)
        second = asyncio.create_task(follower.reach_leader())
        await asking
        await first
        assert not second.done()
        await follower._ask()
        await second


async def delete(nats: Client, settings: Settings) -> None:
    """Delete the stream."""
    answer = await nats.request(f"$JS.API.STREAM.DELETE.{settings.nats_stream}", b"")
    assert b'"success":true' in answer.data
