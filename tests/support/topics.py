"""Topics with one fan-out, and the model of a client of several of them."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aionotify.fanout import Fanout
from aionotify.history import History
from aionotify.ids import IdSource
from aionotify.merged import MergedTopics
from aionotify.notification import Notification
from aionotify.stats import Stats
from aionotify.topic import Topic
from tests.support.transport import FakeTransport

NAMES = ("a", "b", "c")
MAX_BUFFER = 150_000
"""Bytes that may wait for a client: one write, as JSON in events, and a gap and a position."""


class World:
    """Topics with one fan-out and one source of ids, and all that was published in them."""

    def __init__(self, limit: int, max_bytes: int) -> None:
        self.fanout, self.stats, self._ids = Fanout(), Stats(), IdSource()
        self.topics = {
            name: Topic(
                name,
                History(limit, max_bytes),
                self.stats,
                wake=self.fanout.wake,
                on_empty=lambda topic: None,
                active=self.fanout.active,
            )
            for name in NAMES
        }
        self.published: dict[str, list[Notification]] = {name: [] for name in NAMES}

    def publish(self, name: str, size: int = 0) -> Notification:
        """Publish a message of `size` bytes."""
        id = self._ids.next(0.0)
        notification = Notification(id, id, "x" * size, name)
        self.topics[name].history.append(notification, size)
        self.published[name].append(notification)
        self.fanout.wake(self.topics[name])
        return notification

    def subscription(self, names: Sequence[str]) -> Topic | MergedTopics:
        """Return the subscription of a client of these topics."""
        topics = [self.topics[name] for name in names]
        if len(topics) == 1:
            return topics[0]
        return MergedTopics(topics, self.fanout.wake_replay)

    def ids_after(self, name: str, id: int) -> list[int]:
        """Return the ids of all that was published in a topic after `id`."""
        return [each.id for each in self.published[name] if each.id > id]

    def last_id(self, names: Sequence[str]) -> int:
        """Return the highest id in these topics, 0 if there is none."""
        return max((each.id for name in names for each in self.published[name]), default=0)

    def lost_after(self, name: str, id: int) -> list[int]:
        """Return the ids of notifications published in a topic after `id` and not retained."""
        history = self.topics[name].history
        retained = {each.id for each in history.between(history.first, sys.maxsize)}
        return [each for each in self.ids_after(name, id) if each not in retained]


@dataclass
class Client:
    """A client of server-sent events, and the events that it must be sent."""

    world: World
    transport: FakeTransport
    names: tuple[str, ...]

    last: int
    """The id of the last event, which the client resumes with."""

    positions: dict[str, int]
    """For each topic, the id up to which nothing is outstanding."""

    recents: list[int]
    """The ids of the recent notifications that have to come first."""

    gap: bool
    """Whether a gap of unknown size has to come."""

    joined_at: int
    """The highest id when it subscribed."""

    unknown_until: int = -1
    """The id up to which a gap has told that any number may be missing."""

    told: int = 0
    """Missed notifications that gaps have told of, and that are not accounted for yet."""

    may_have_gap: bool = False
    """Whether something after its position was lost when it subscribed."""

    unknown: int = 0
    """Missed notifications that a gap of unknown size covers."""

    caught_up: bool = False
    unread: bytes = b""
    ids: list[int] = field(default_factory=list)

    def outstanding(self, name: str) -> list[int]:
        """Return the ids that have to come next from a topic."""
        return self.world.ids_after(name, self.positions[name])

    def check(self) -> None:
        """Check that all received events are exact."""
        *events, self.unread = (self.unread + self.transport.take()).split(b"\n\n")
        for event in events:
            self._check_event(json.loads(event.partition(b"data: ")[2]))
        assert self.transport.largest <= MAX_BUFFER

    def check_current(self) -> None:
        """Check that nothing is outstanding."""
        assert self.caught_up
        assert not self.recents
        assert not self.gap
        for name in self.names:
            self._account_lost(name, self.outstanding(name))
        # A gap with a number may have come before one of unknown size that covers it.
        assert self.told <= self.unknown

    def _check_event(self, data: dict[str, Any]) -> None:
        id = int(data["id"])
        if data["type"] == "notification":
            self._check_notification(id, data)
        else:
            for name in self.names:
                before = {each for each in self.outstanding(name) if each <= id}
                assert before <= {*self.world.lost_after(name, 0)}, "overtaken"
            if data["type"] == "subscribed":
                assert not self.caught_up, "told twice"
                assert not self.gap
                assert not self.recents
                assert data["topics"] == [*self.names]
                self.caught_up = True
            elif data["missed"] is None:
                assert self.may_have_gap
                assert not self.caught_up
                self.gap = False
                self.unknown_until = id
            else:
                assert data["missed"] > 0
                self.told += data["missed"]
        assert id >= self.last or not self.last, "positions must increase"
        self.last = id

    def _check_notification(self, id: int, data: dict[str, Any]) -> None:
        name = data["topic"]
        assert not self.ids or self.ids[-1] < id, "ids must increase"
        assert ("recent" in data) == (id <= self.joined_at)
        assert not (self.caught_up and id <= self.joined_at)
        self.ids.append(id)
        if self.recents:
            assert id == self.recents.pop(0)
            return
        skipped = [each for each in self.outstanding(name) if each < id]
        self._account_lost(name, skipped)
        assert self.outstanding(name)[0] == id
        self.positions[name] = id

    def _account_lost(self, name: str, skipped: list[int]) -> None:
        """Check that gaps have accounted for the lost notifications of a topic."""
        if skipped:
            assert {*skipped} <= {*self.world.lost_after(name, 0)}
            known = sum(each > self.unknown_until for each in skipped)
            self.told -= known
            self.unknown += len(skipped) - known
            assert self.told >= 0, "missed without a gap"
            self.positions[name] = skipped[-1]
