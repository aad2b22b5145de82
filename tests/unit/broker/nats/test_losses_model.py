"""A node promises no message that it lacks, however much is published while it reads."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aionotify.broker.nats.follower
from aionotify.errors import BrokerError
from tests.support.nats_model import FIRST, TOPICS, ModelNode, ModelStream
from tests.support.nats_remote import LIMIT

PUBLISH = st.sampled_from(TOPICS)
MANY = st.lists(PUBLISH, max_size=8)
JOIN = st.sampled_from([f"join {topic}" for topic in TOPICS])
STEP = st.sampled_from(["live", "drop", "ask", "check"])
STEPS = st.lists(st.one_of(PUBLISH, JOIN, STEP), max_size=40)
SCRIPT = st.lists(st.one_of(st.none(), st.tuples(MANY, st.integers(0, 12))), max_size=30)


@settings(max_examples=300)
@given(before=MANY, steps=STEPS, script=SCRIPT)
def test_promises_are_kept(
    before: Sequence[str], steps: Sequence[str], script: Sequence[tuple[Sequence[str], int] | None]
) -> None:
    """Messages are lost, late, and removed while a node starts and follows; replicas lag."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aionotify.broker.nats.follower, "LAGGING_PAUSE", 0)
        patch.setattr(aionotify.broker.nats.follower, "MAX_LAGGING", 2)
        asyncio.run(run(before, steps, script))


async def test_messages_that_no_replica_has_anymore_are_a_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The replica that is asked does not know them yet, and the leader has removed them."""
    monkeypatch.setattr(aionotify.broker.nats.follower, "LAGGING_PAUSE", 0)
    monkeypatch.setattr(aionotify.broker.nats.follower, "MAX_LAGGING", 2)
    stream = ModelStream()
    stream.publish("b")  # numbers before the first one would not count as deleted
    stream.publish("a")
    start, lagging = [((), 0)] * 5, [((), 5)] * 2
    node = ModelNode(stream, iter([*start, *lagging]))
    await node.ask()
    for _ in range(5):
        stream.publish("a")
    del stream.live[:3]
    await node.take_live()
    assert node.follower.last == FIRST + 3
    await node.ask()
    assert node.retained("a", FIRST + 1) == [FIRST + 4, FIRST + 5, FIRST + 6]
    assert not node.promises("a", FIRST + 1)


async def test_lag_is_known_while_the_stream_cannot_be_read() -> None:
    """An alarm waits for it."""
    stream = ModelStream()
    stream.publish("a")
    node = ModelNode(stream, iter([((), 0)] * 5 + [None]))
    await node.ask()
    for _ in range(3):
        stream.publish("a")
    del stream.live[:2]
    with pytest.raises(BrokerError):
        await node.take_live()
    assert node.stats.lag == 2
    await node.ask()
    assert node.follower.last == FIRST + 3


async def run(
    before: Sequence[str], steps: Sequence[str], script: Sequence[tuple[Sequence[str], int] | None]
) -> None:
    """Follow a model of the stream, and check all promises."""
    stream = ModelStream()
    for topic in before:
        stream.publish(topic)
    node = ModelNode(stream, iter(script))
    begin: int | None = None
    """From where on the stream was complete when the node had started."""
    for step in [*steps, "ask", "check", "ask", "check"]:
        try:
            if step == "ask":
                await node.ask()
            elif step == "live":
                await node.take_live()
            elif step == "drop":
                del stream.live[:1]
            elif step in TOPICS:
                stream.publish(step)
        except BrokerError:
            pass  # tried again by a later step
        if not node.follower.started:
            continue
        if begin is None:
            begin = min(stream.states[-1], default=FIRST) - 1
        if step.startswith("join "):
            await node.join(step.removeprefix("join "))
        for topic in TOPICS:
            assert node.unnoticed(topic) == [], topic
        if step == "check":
            await check(node, stream, begin)


async def check(node: ModelNode, stream: ModelStream, begin: int) -> None:
    """Compare the promises to a client with the published messages."""
    last = node.follower.last
    for topic in TOPICS:
        known = await node.refresh(topic)
        for id in range(FIRST - 1, last + 1):
            newer = [seq for seq, its in stream.published if its == topic and id < seq <= last]
            missing = set(newer) - set(node.retained(topic, id))
            if node.promises(topic, id):
                assert not missing, f"{topic} after {id}: {missing} unnoticed"
            else:
                # With as many newer ones as the topic can have, a loss cannot be told apart.
                published = [s for s, its in stream.published if its == topic and s > id]
                lost = missing or len(published) >= LIMIT or id < begin or not known
                assert lost, f"{topic} after {id}: a false gap"
