"""Tests that hold for every broker: subclass `BrokerContract` and provide the fixture `start`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aionotify.broker import Broker
from aionotify.hub import Hub
from aionotify.notification import Draft
from tests.support.builders import join
from tests.support.waiting import eventually

Start = Callable[[], Awaitable["Node"]]
"""Starts a process on the same stored data as the processes before it."""


@dataclass
class Node:
    """A process: a broker and the hub that it feeds."""

    hub: Hub
    broker: Broker


def drafts(*messages: str, topic: str = "main") -> list[Draft]:
    """Return valid notifications of one topic."""
    return [Draft(topic, each, len(each.encode())) for each in messages]


def retained(node: Node, topic: str = "main") -> list[str]:
    """Return the messages in the history of a topic."""
    history = node.broker.open(topic).history
    return [each.message for each in history.between(history.first, 1 << 30)]


class BrokerContract:
    """The behavior that the notifier relies on."""

    async def test_published_is_in_the_history(self, start: Start) -> None:
        node = await start()
        published = await node.broker.publish(drafts("a", "b"), wait_stored=False)
        assert [each.message for each in published] == ["a", "b"]
        assert {each.topic for each in published} == {"main"}
        assert retained(node) == ["a", "b"]
        await node.broker.stop()

    async def test_ids_increase_over_all_topics(self, start: Start) -> None:
        node = await start()
        ids = []
        for number in range(30):
            batch = drafts("x", topic=f"topic{number % 3}") + drafts("y", topic="main")
            ids += [each.id for each in await node.broker.publish(batch, wait_stored=False)]
        assert ids == sorted(set(ids))
        assert ids[-1] < 2**53
        await node.broker.stop()

    async def test_ids_increase_over_restarts(self, start: Start) -> None:
        last = 0
        for _ in range(3):
            node = await start()
            (published,) = await node.broker.publish(drafts("a"), wait_stored=True)
            assert published.id > last
            last = published.id
            await node.broker.stop()

    async def test_stored_survives_a_restart(self, start: Start) -> None:
        node = await start()
        assert node.broker.connected
        published = await node.broker.publish(drafts("a", "b", "c"), wait_stored=True)
        await node.broker.stop()
        node = await start()
        await node.broker.refresh("main")
        assert retained(node) == ["a", "b", "c"]
        history = node.broker.open("main").history
        assert history.after(published[0].id) == (history.first + 1, True)
        assert history.last_id == published[-1].id
        await node.broker.stop()

    async def test_quiet_topic_stays_complete(self, start: Start) -> None:
        """A client that saw nothing has a position, and nothing is missing after a restart."""
        node = await start()
        await node.broker.refresh("quiet")
        position = node.broker.open("quiet").history.last_id
        await node.broker.publish(drafts("elsewhere"), wait_stored=True)
        await node.broker.stop()
        node = await start()
        await node.broker.refresh("quiet")
        history = node.broker.open("quiet").history
        assert history.after(position) == (history.head, True)
        await node.broker.stop()

    async def test_subscribers_get_what_is_published(self, start: Start) -> None:
        node = await start()
        here, elsewhere = join(node.broker.open("main")), join(node.broker.open("other"))
        await node.broker.publish(drafts("Hello"), wait_stored=True)
        await eventually(lambda: bool(here.sent), what="the notification is on its way")
        assert here.take() == b"\x81\x14[Notification] Hello"
        assert elsewhere.take() == b""
        await node.broker.stop()

    async def test_publishing_many_evicts_nothing_unread(self, start: Start) -> None:
        """More than a history holds, in one call: publishing waits for the fan-out."""
        node = await start()
        client = join(node.broker.open("main"))
        await node.broker.publish(drafts(*map(str, range(3000))), wait_stored=True)
        await eventually(lambda: client.sent.count(b"[Notification] ") >= 3000)
        assert client.sent.count(b"[Notification] ") == 3000
        await node.broker.stop()

    async def test_many_topics_are_published_in_order(self, start: Start) -> None:
        node = await start()
        batch = [draft for number in range(1000) for draft in drafts("x", topic=f"t{number}")]
        published = await node.broker.publish(batch, wait_stored=True)
        assert [each.topic for each in published] == [each.topic for each in batch]
        ids = [each.id for each in published]
        assert ids == sorted(set(ids))
        await node.broker.stop()
        node = await start()
        for number in (0, 500, 999):
            await node.broker.refresh(f"t{number}")
            assert retained(node, f"t{number}") == ["x"]
        await node.broker.stop()

    async def test_fields_are_kept(self, start: Start) -> None:
        node = await start()
        fields = b',"title":"T","data":[1]'
        batch = [Draft("main", "a", 1 + len(fields), fields), *drafts("b")]
        await node.broker.publish(batch, wait_stored=True)
        await node.broker.stop()
        node = await start()
        await node.broker.refresh("main")
        history = node.broker.open("main").history
        kept = history.between(history.first, 1 << 30)
        assert [each.fields for each in kept] == [fields, b""]
        await node.broker.stop()

    async def test_opening_twice_is_the_same_topic(self, start: Start) -> None:
        node = await start()
        assert node.broker.open("main") is node.broker.open("main")
        await node.broker.stop()
