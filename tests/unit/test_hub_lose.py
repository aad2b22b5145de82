"""Notifications that are missing in an unknown number: every subscriber is told, as it can be."""

import asyncio

from aionotify.encoders import JSON
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.notification import Notification
from aionotify.subscriber import State
from aionotify.topic import Topic
from tests.support.builders import join, new_subscriber
from tests.support.transport import FakeTransport

GAP = b'{"type":"gap","missed":null,"id":"50"}'


def joined(topic: Topic) -> FakeTransport:
    """Subscribe a JSON client."""
    subscriber = new_subscriber()
    subscriber.encoder = JSON
    client = FakeTransport(subscriber, float("inf"))
    topic.subscribe(subscriber)
    return client


async def turns() -> None:
    """Let the fan-out run."""
    for _ in range(5):
        await asyncio.sleep(0)


def publish(hub: Hub, name: str, id: int) -> None:
    """Publish the id as text."""
    topic = hub.get_topic(name) or hub.create_topic(name)
    hub.publish(topic, Notification(id, id, str(id), name), 2)


async def test_gap_has_no_number() -> None:
    hub = Hub(10, 1e10, 100)
    client = joined(hub.create_topic("main"))
    publish(hub, "main", 10)
    hub.lose(50)
    await turns()
    assert GAP in client.take()
    assert client.protocol.state is State.OPEN
    publish(hub, "main", 51)
    await turns()
    assert b'"id":"51"' in client.take()


async def test_gap_comes_before_the_next() -> None:
    hub = Hub(10, 1e10, 100)
    client = joined(hub.create_topic("main"))
    hub.lose(50)
    publish(hub, "main", 51)
    await turns()
    sent = client.take()
    assert 0 <= sent.find(GAP) < sent.find(b'"id":"51"')
    assert sent.count(b'"gap"') == 1


async def test_text_client_is_closed() -> None:
    hub = Hub(10, 1e10, 100)
    client = join(hub.create_topic("main"))
    hub.lose(50)
    await turns()
    assert b"\x03\xf5" in client.take()


async def test_client_of_several_topics_gets_one_gap() -> None:
    hub = Hub(10, 1e10, 100)
    topics = [hub.create_topic("a"), hub.create_topic("b")]
    subscriber = new_subscriber()
    subscriber.encoder = JSON
    client = FakeTransport(subscriber, float("inf"))
    hub.merge(topics).subscribe_recent(subscriber, [], b"")
    await turns()
    client.take()
    hub.lose(50)
    publish(hub, "b", 51)
    await turns()
    sent = client.take()
    assert 0 <= sent.find(GAP) < sent.find(b'"id":"51"')
    assert sent.count(b'"gap"') == 1


async def test_one_topic_alone_can_lose() -> None:
    hub = Hub(10, 1e10, 100)
    topic, other = hub.create_topic("main"), joined(hub.create_topic("other"))
    client = joined(topic)
    hub.lose_topic(topic, 50)
    await turns()
    assert GAP in client.take()
    assert other.take() == b""


def test_with_a_horizon_every_id_up_to_it_is_a_position() -> None:
    hub = Hub(10, 1e10, 100)
    hub.horizon = IdSource()
    hub.lose(50)
    hub.horizon.last = 60
    history = hub.create_topic("main").history
    assert [history.after(id)[1] for id in (49, 50, 55, 60, 61)] == [
        False,
        True,
        True,
        True,
        False,
    ]
