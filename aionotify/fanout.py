"""The sweep: the one hot path."""

import asyncio
import time

from aionotify.counts import Cause
from aionotify.log import Log
from aionotify.topic import Topic
from aionotify.wire import MAX_BATCH, Encoding

SLICE = 0.004
"""Seconds after which a sweep gives the event loop back."""

VISITS = 32
"""Subscribers visited between two looks at the clock."""

KEPT = 16
"""Batches that one slice keeps for those who stand at the same place: a mebibyte at most."""


class Fanout:
    """Brings every subscriber that can be written to up to the head of its topic's log.

    What lies between a cursor and the head goes out as one write, and is encoded once for all
    that stand at the same place: the busier it gets, the cheaper each delivery is. Nobody is
    waited for.
    """

    def __init__(self) -> None:
        self._active: dict[Topic, None] = {}
        self._scheduled = False

    def wake(self, topic: Topic) -> None:
        """Something was published in `topic`, or somebody in it can be written to again."""
        self._active[topic] = None
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        """One slice; the topics take turns. An error in it does not end the fan-out."""
        deadline = time.monotonic() + SLICE
        try:
            while self._active:
                topic = next(iter(self._active))
                del self._active[topic]
                done = False
                try:
                    done = self._sweep(topic, deadline)
                finally:
                    if not done:
                        self._active[topic] = None
                if time.monotonic() > deadline:
                    break
        finally:
            self._scheduled = bool(self._active)
            if self._scheduled:
                asyncio.get_running_loop().call_soon(self._run)

    def _sweep(self, topic: Topic, deadline: float) -> bool:
        """Visit who is behind until `deadline`; answer whether nobody is left."""
        behind, head = topic.behind, topic.log.head
        batches = _Batches(topic.log)
        encoding: Encoding | None = None
        cursor, end, batch, delivered = -1, -1, b"", 0
        while True:
            if not behind:
                if topic.swept == head:
                    break
                topic.swept, topic.volume = head, topic.log.volume
                topic.swept_since, topic.unswept_since = topic.unswept_since, None
                behind.extend(topic.subscribers)
            for _ in range(min(VISITS, len(behind))):
                subscriber = behind.popleft()
                if not subscriber.ready or subscriber.cursor == head:
                    continue
                if subscriber.cursor != cursor or subscriber.encoding is not encoding:
                    if subscriber.cursor < topic.log.first:
                        subscriber.overtaken(topic.log.first)
                        if not subscriber.ready:
                            continue
                    cursor = subscriber.cursor
                    encoding = subscriber.encoding = subscriber.encoding.at(cursor)
                    batch, end = batches.get(encoding, cursor)
                try:  # what `Subscriber.write` does, without the call
                    subscriber.transport.write(batch)
                    subscriber.cursor = end
                    delivered += end - cursor
                except (OSError, RuntimeError) as error:  # of a transport in no state to write
                    subscriber.cut_off(f"its connection is broken: {error}", Cause.BROKEN)
                if end < head and subscriber.ready:
                    behind.append(subscriber)
            if not behind:
                _measure(topic)
            if time.monotonic() > deadline:
                break
        topic.counts.delivered += delivered
        return not behind and topic.swept == head


def _measure(topic: Topic) -> None:
    """Everybody has been written what a sweep was for: note how long it took since publishing."""
    if topic.swept_since is not None:
        topic.counts.fanout_seconds.observe(time.monotonic() - topic.swept_since)
        topic.swept_since = None


class _Batches:
    """What is to be written from a cursor on, encoded once however many stand there."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._encoded: dict[tuple[Encoding, int], tuple[bytes, int]] = {}

    def get(self, encoding: Encoding, cursor: int) -> tuple[bytes, int]:
        """The bytes, and the position that they lead up to. Keeps no more than a few batches."""
        key = encoding, cursor
        if key not in self._encoded:
            if len(self._encoded) == KEPT:
                self._encoded.clear()
            notifications = self._log.between(cursor, MAX_BATCH, encoding.until)
            self._encoded[key] = encoding.notifications(notifications), cursor + len(notifications)
        return self._encoded[key]
