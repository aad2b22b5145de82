"""A model of the stream and of a node that follows it, for property tests."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

from nats.aio.msg import Msg

from aionotify.broker.nats.follower import Follower
from aionotify.broker.nats.remote import Batch, Remote
from aionotify.broker.nats.stream import Info, Message, Place
from aionotify.errors import NoAnswer
from aionotify.hub import Hub
from aionotify.notification import Notification
from aionotify.stats import ClusterStats
from aionotify.topic import Topic
from tests.support.builders import join
from tests.support.nats_remote import CONFIG, LIMIT, new_delivery

FIRST = 101
"""The number of the first message."""

BATCH = 4
"""Messages that are fetched at once."""

TOPICS = ("a", "b", "c")


class ModelStream:
    """All messages that were published, and those that each replica retains."""

    def __init__(self) -> None:
        self.published: list[tuple[int, str]] = []
        self.live: list[int] = []
        """Numbers that JetStream has republished, and that the node has yet to see."""
        self._numbers = itertools.count(FIRST)
        self.states: list[dict[int, str]] = [{}]
        """The retained messages after each publish. The state of the leader is at the end."""

    def publish(self, topic: str) -> None:
        """Store a message; the oldest one of its topic may have to go."""
        seq = next(self._numbers)
        self.published.append((seq, topic))
        self.live.append(seq)
        same = [old for old, its in self.states[-1].items() if its == topic]
        gone = same[: max(0, len(same) + 1 - LIMIT)]
        kept = {old: its for old, its in self.states[-1].items() if old not in gone}
        self.states.append({**kept, seq: topic})

    def message(self, seq: int) -> Message:
        """Return a message."""
        topic = self.published[seq - FIRST][1]
        return Message(Place(seq, seq), Notification(seq, seq, str(seq), topic), "")


class ModelRemote:
    """Answers as the leader does, and batches as a replica that may lag.

    Before each answer and after it, `script` tells which topics others publish to, and which
    replica answers; None is an answer that gets lost.
    """

    def __init__(self, stream: ModelStream, script: Iterator[tuple[Sequence[str], int] | None]):
        self._stream = stream
        self._script = script
        self._lag = 0

    def wanted(self) -> dict[str, object]:
        return dict(CONFIG)

    def read(self, msg: Msg) -> Message:
        return cast(Message, msg)

    async def info(self) -> Info:
        states = self._disturbed()
        state, last = states[-1], FIRST + len(states) - 2
        return Info("then", min(state, default=last + 1), last, len(state), CONFIG)

    async def subjects(self) -> dict[str, int]:
        state = list(self._disturbed()[-1].values())
        return {f"s.{topic}": state.count(topic) for topic in set(state)}

    async def oldest(self, subjects: Collection[str]) -> dict[str, int]:
        state = self._disturbed()[-1]
        found = {f"s.{topic}": seq for seq, topic in reversed(state.items())}
        return {each: found[each] for each in subjects if each in found}

    async def deleted(self) -> list[int]:
        state = self._disturbed()[-1]
        numbers = range(min(state), max(state)) if state else ()
        return [seq for seq in numbers if seq not in state]

    async def batch(self, seq: int) -> Batch:
        states = self._disturbed()
        state = states[max(0, len(states) - 1 - self._lag)]
        found = [self._stream.message(each) for each in state if each >= seq]
        return Batch(found[:BATCH], len(found) < BATCH)

    def _disturbed(self) -> list[dict[int, str]]:
        """Return the states at the time of the answer; more may be published behind it."""
        step = next(self._script, ((), 0))
        if step is None:
            raise NoAnswer("lost")
        topics, self._lag = step
        before = len(topics) // 2
        for topic in topics[:before]:
            self._stream.publish(topic)
        states = list(self._stream.states)
        for topic in topics[before:]:
            self._stream.publish(topic)
        return states


class ModelNode:
    """A hub that follows the model, step by step, and the subscribers of its topics."""

    def __init__(self, stream: ModelStream, script: Iterator[Any]) -> None:
        self.hub = Hub(1000, 1e10, 100)
        self._stream = stream
        remote = ModelRemote(stream, script)
        self._delivery = new_delivery(self.hub, remote)
        self.stats = ClusterStats()
        self.follower = Follower(cast(Remote, remote), self._delivery, self.stats)
        self._joined: dict[str, int] = {}
        self._told: dict[str, int] = {}
        lose = self.hub.lose_topic

        def lose_topic(topic: Topic, id: int) -> None:
            self._told[topic.name] = id
            lose(topic, id)

        self.hub.lose_topic = lose_topic  # type: ignore[method-assign]

    async def ask(self) -> None:
        """Ask the leader, and fetch missing messages."""
        await self.follower._ask()

    async def take_live(self) -> None:
        """Take the next message that JetStream has republished."""
        if self._stream.live:
            message = self._stream.message(self._stream.live.pop(0))
            if self.follower._progress.created:
                await self.follower._on_message(message)

    async def join(self, topic: str) -> None:
        """Subscribe to a topic, as a client does that has everything up to now."""
        await self._delivery.refresh(topic)
        opened = self._delivery.open(topic)
        if not opened.subscribers:
            join(opened)
            self._joined[topic] = self._told[topic] = self.follower.last

    def unnoticed(self, topic: str) -> list[int]:
        """Return messages that a subscriber misses, but may believe to have by its position."""
        found = self.hub.get_topic(topic)
        if found is None or not found.subscribers:
            return []
        since, last = max(self._joined[topic], self._told[topic]), self.follower.last
        published = [
            id for id, its in self._stream.published if its == topic and since < id <= last
        ]
        retained = found.history.between(found.history.first, 1000)
        return [id for id in published if id not in [each.id for each in retained]]

    async def refresh(self, topic: str) -> bool:
        """Prepare a request for a topic. Return whether the leader answered, if it was asked."""
        await self._delivery.refresh(topic)
        losses = self._delivery._losses
        return not losses.is_suspect(topic) or topic in losses._oldest

    def promises(self, topic: str, id: int) -> bool:
        """Return whether a client that resumes after `id` is told that it misses nothing."""
        return self._delivery.open(topic).history.after(id)[1]

    def retained(self, topic: str, id: int) -> list[int]:
        """Return the ids that a client gets that resumes after `id`."""
        history = self._delivery.open(topic).history
        position, _ = history.after(id)
        return [each.id for each in history.between(position, 1000)]
