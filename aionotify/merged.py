"""Several topics on one connection: a cursor for each, and one stream in the order of ids."""

import asyncio
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from aionotify.encoders import MAX_BATCH, Encoder
from aionotify.notification import Notification
from aionotify.stats import DisconnectReason, Stats
from aionotify.streams import Batch, Event, following, gap_place, is_complete
from aionotify.subscriber import WRITE_ERRORS, State, Subscriber, disconnect_broken
from aionotify.topic import Topic

OPENING_GAP = -1
"""The index of the gaps at the start of a replay: they come before a notification with their id."""


class MergedTopics:
    """The topics of a client that subscribes to several of them, merged by id.

    Each write has everything that is new in all of them up to some id. So the client is sent
    increasing ids, and one id is its position: nothing up to it is outstanding in any topic.
    """

    __slots__ = ("_joining", "_wake_replay", "cursors", "subscriber")

    def __init__(
        self, topics: Sequence[Topic], wake_replay: Callable[["MergedTopics"], None]
    ) -> None:
        """Merge `topics`; `wake_replay` schedules the replay of a client that is behind."""
        self.subscriber: Subscriber
        self.cursors = tuple(map(TopicCursor, topics))
        self._wake_replay = wake_replay
        self._joining: _Joining | None = None

    @property
    def stats(self) -> Stats:
        """The counters of the application."""
        return self.cursors[0].topic.stats

    @property
    def names(self) -> list[str]:
        """The names of the topics, in the order in which the client gave them."""
        return [each.topic.name for each in self.cursors]

    @property
    def is_behind(self) -> bool:
        """Whether the client waits for its replay."""
        return self.subscriber.state is State.REPLAYING

    def subscribe_recent(
        self, subscriber: Subscriber, recents: Sequence[Notification], head: bytes
    ) -> None:
        """Subscribe, and send `head` and the notifications `recents`, oldest first."""
        self._subscribe(subscriber)
        self._join(head, _Joining(self._last_id, recents=[*recents]))

    def subscribe_since(self, subscriber: Subscriber, since: int, head: bytes) -> None:
        """Subscribe, and send `head` and everything that is retained after the id `since`.

        Where a topic may have lost notifications, a gap comes before the next one from it.
        """
        self._subscribe(subscriber)
        joining = _Joining(self._last_id, recents=[])
        histories = [each.topic.history for each in self.cursors]
        incomplete = {each.complete_since for each in histories if each.complete_since > since}
        if incomplete:
            joining.gaps = sorted(incomplete)
        elif not is_complete(histories, since):
            joining.gaps = [max(each.complete_since for each in histories)]
        for cursor in self.cursors:
            cursor.cursor, _ = cursor.topic.history.after(since)
        self._join(head, joining)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop delivery to `subscriber`. May be called more than once."""
        removed = [each.topic.remove(each) for each in self.cursors]
        if any(removed):
            self.stats.uncount(subscriber)

    def on_writable(self, subscriber: Subscriber) -> None:
        """Continue delivery to `subscriber`, if it is behind; it can be written to."""
        if self._joining is not None or not self.is_current():
            self.fall_behind()

    def catch_up(self, subscriber: Subscriber) -> None:
        """Write pending notifications to `subscriber` now, as far as its socket accepts them.

        A client that resumes is left to the fan-out: it may have megabytes to catch up on.
        """
        while self._is_close_behind():
            self._write_next()

    def replay(self, deadline: float) -> None:
        """Write one batch. Others may be behind, too, so the next one waits for its turn."""
        if not self.is_behind:
            return
        try:
            self._write_next()
        except WRITE_ERRORS as error:
            disconnect_broken(self.subscriber, error)

    def is_current(self, except_for: "TopicCursor | None" = None) -> bool:
        """Return whether the client has everything, in all topics or in all but one."""
        for each in self.cursors:  # a loop: `all` with a generator takes twice the time
            if each.cursor != each.topic.history.head and each is not except_for:
                return False
        return True

    def fall_behind(self) -> None:
        """Leave the rest to the replay."""
        self.subscriber.state = State.REPLAYING
        self._wake_replay(self)

    def write_all(self) -> None:
        """Write the news of all topics, up to the size of one write; the replay gets the rest."""
        self._write_next()
        if self.subscriber.state is State.OPEN and not self.is_current():
            self.fall_behind()

    @property
    def _last_id(self) -> int:
        return max(each.topic.history.last_id for each in self.cursors)

    def _subscribe(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        subscriber.topic = self
        for cursor in self.cursors:
            cursor.subscriber, cursor.encoder = subscriber, subscriber.encoder
            cursor.topic.add(cursor)
        self.stats.count(subscriber)

    def _join(self, head: bytes, joining: "_Joining") -> None:
        """Send `head`, and the rest a turn of the event loop later.

        simple-websocket and ws4py lose frames that arrive together with the head of a 101.
        """
        self._joining = joining
        self.subscriber.write(head, 0)
        if self.subscriber.state is State.OPEN:
            # From here on nothing else writes to the client, so all that it gets is in order.
            self.subscriber.state = State.REPLAYING
            asyncio.get_running_loop().call_soon(self._wake_replay, self)

    def _is_close_behind(self) -> bool:
        if self._joining is not None:
            return self.is_behind and bool(self._joining.recents)
        return self.subscriber.state is State.OPEN and not self.is_current()

    def _write_next(self) -> None:
        """Write one batch; the client is open once it has everything."""
        joining = self._joining
        if joining is not None and joining.recents:
            batch = self.subscriber.encoder.encode(joining.take(), recent=True)
        else:
            batch = self._merge()
        self.subscriber.transport.write(batch)
        if self.is_behind and self._joining is None and self.is_current():
            self.subscriber.state = State.OPEN

    def _merge(self) -> bytes:
        """Return one write with the next notifications of all topics, and move the cursors."""
        joining, size = self._joining, 0
        batch = Batch(self.subscriber.encoder, -1 if joining is None else joining.last_recent)
        for id, at, notification, length in heapq.merge(*self._streams()):
            size += length
            if size > MAX_BATCH and size > length:
                break
            if notification is not None:
                batch.add(notification)
                self.cursors[at].cursor += 1
            elif at == OPENING_GAP and joining is not None:
                batch.add_gap(None, id)
                joining.gaps.remove(id)
            elif at == len(self.cursors):
                batch.add_position(self.names, id, self.subscriber.expires)
                self._joining = None
            else:
                cursor = self.cursors[at]
                history = cursor.topic.history
                counted = cursor.cursor >= cursor.topic.uncounted_before
                missed = history.first - cursor.cursor if counted else None
                batch.add_gap(missed, history.complete_since)
                cursor.cursor = history.first
        data = batch.finish()
        self.stats.delivered += batch.notifications
        self.stats.gaps += batch.gaps
        return data

    def _streams(self) -> Iterator[Iterator[Event]]:
        """Iterate over the streams to merge: of each topic that has news, and our own marks."""
        joining = self._joining
        for at, each in enumerate(self.cursors):
            history = each.topic.history
            if each.cursor != history.head:
                yield following(at, history, each.cursor)
                if joining is not None and each.cursor < history.first:
                    # The client is not caught up before it has been told of the gap.
                    joining.position = max(joining.position, gap_place(history))
        if joining is not None:
            yield iter([(id, OPENING_GAP, None, 0) for id in joining.gaps])
            # Behind everything that was published before: later ids are higher.
            yield iter([(joining.position, len(self.cursors), None, 0)])


class TopicCursor:
    """The cursor of a client of several topics into one of them."""

    __slots__ = ("cursor", "encoder", "subscriber", "topic")

    def __init__(self, topic: Topic) -> None:
        self.cursor = 0
        self.encoder: Encoder
        self.subscriber: Subscriber
        self.topic = topic

    @property
    def merged(self) -> MergedTopics:
        """All topics of the client."""
        # Not an attribute of its own: with it, a cursor would take 80 bytes and not 64.
        return cast(MergedTopics, self.subscriber.topic)

    @property
    def state(self) -> State:
        """The state of the client's connection."""
        return self.subscriber.state

    @property
    def writable(self) -> bool:
        """Whether the client can be written to."""
        return self.subscriber.writable

    @property
    def client(self) -> Subscriber | None:
        """The client; only its first cursor stands for it."""
        return self.subscriber if self.merged.cursors[0] is self else None

    def write(self, batch: bytes, cursor: int) -> None:
        """Write `batch` and move to `cursor`; if other topics have news, write the merged news."""
        # The usual case is news in one topic: its batch is shared with all other subscribers. An
        # open client is current in all topics that are not active, so it is seldom necessary to
        # look at its other topics, which are not in the processor's cache.
        if not self.topic.active or self.merged.is_current(except_for=self):
            self.subscriber.transport.write(batch)
            self.cursor = cursor
        else:
            # The fan-out counts this batch as delivered, and the merge counts what it writes.
            self.topic.stats.delivered -= cursor - self.cursor
            self.merged.write_all()

    def skip_to(self, first: int, id: int, *, counted: bool = True) -> None:
        """Leave it to the replay to tell of the gap, at its place among the other topics."""
        self.merged.fall_behind()

    def disconnect(self, message: str, reason: DisconnectReason) -> None:
        """Abort the connection of the client."""
        self.subscriber.disconnect(message, reason)


@dataclass(slots=True)
class _Joining:
    """What a client is sent before live delivery: notifications, perhaps a gap, its position."""

    position: int
    """The id at which it is told that it is caught up."""

    recents: list[Notification]
    last_recent: int = field(init=False)
    """The highest id that was issued before it subscribed."""

    gaps: list[int] = field(default_factory=list)
    """The ids at which it is told of gaps of unknown size."""

    def __post_init__(self) -> None:
        self.last_recent = self.position

    def take(self) -> list[Notification]:
        """Return as many of `recents` as fit into one write, at least one, and remove them."""
        taken, size = list[Notification](), 0
        while self.recents:
            size += self.recents[0].size
            if size > MAX_BATCH and taken:
                break
            taken.append(self.recents.pop(0))
        return taken
