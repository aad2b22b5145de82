"""Which topics may have lost messages that a node has not seen.

The stream drops messages in two ways: the oldest of all, when they expire, and the oldest of a
topic that has more than its limit. So only topics at their limits lose messages in the midst of the
stream, where a hole shows it.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

from aionotify.broker.nats.remote import Batch, Remote
from aionotify.broker.nats.stream import Stream
from aionotify.notification import NAME

UNKNOWN = 1 << 62
"""The number of the oldest message of a topic that has not been looked up."""


class Limits(NamedTuple):
    """The limits of a stream."""

    per_topic: int
    """Messages of a topic; 0 or less is no limit."""
    max_age: float
    """Seconds after which a message expires."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Limits":
        """Return the limits in the configuration of a stream."""
        max_age = (config.get("max_age") or 0) / 1e9 or float("inf")
        return cls(config.get("max_msgs_per_subject") or 0, max_age)


class Losses:
    """Finds out which topics may have lost messages, when there is a hole in the stream.

    A topic at its limit has lost nothing in a hole if it has a message from before the hole: if
    fewer follow the hole than it can have, or if its oldest one is from before. Otherwise it may
    have: exactly as many may follow.

    Topics with subscribers are looked up at once, because a notification of another topic may
    give the same client a position behind the hole. The others are suspects until their next
    notification or subscriber.
    """

    def __init__(self, stream: Stream, remote: Remote) -> None:
        self._stream = stream
        self._remote = remote
        self.limits = Limits(0, float("inf"))
        self._batch = Batch([], False)
        """The messages that were fetched last."""
        self._coming: dict[str, list[int]] = {}
        """The numbers of these by topic, once a hole was seen before one of them."""
        self._full: set[str] | None = None
        """The topics at their limit, if they were asked for since the last messages came."""
        self._oldest: dict[str, int] = {}
        """The oldest message of each topic that was looked up, since the last messages came."""
        self._subscribed: list[tuple[int, str]] = []
        """The oldest message of each topic that may have lost some, and has subscribers.

        The newest comes first.
        """
        self._suspects: dict[str, int] = {}
        """The number of the last message that was delivered before the first hole."""
        self._filled_at = time.monotonic()

    def fetched(self, batch: Batch) -> None:
        """Note that messages were fetched: the known counts are older than them."""
        self._batch, self._full, self._oldest = batch, None, {}

    async def in_hole(self, start: int, is_subscribed: Callable[[str], bool]) -> list[str] | None:
        """Return the topics with subscribers that may have lost messages; None if any topic may.

        The hole is between the number `start` and one of the messages that were fetched last.
        """
        if self._full is None:
            full = await self._full_topics()
            if time.monotonic() - self._filled_at > self.limits.max_age:
                full = set()  # anything may have expired
            self._coming = _numbers(self._batch)
            undecided = {each for each in full if not self._has_kept(each, start)}
            wanted = {each for each in undecided if each in self._coming or is_subscribed(each)}
            # All at once: one after the other, a node far behind could not catch up.
            self._oldest = await self._oldest_of(wanted)
            # Once more: clients may have subscribed meanwhile.
            subscribed = {each for each in undecided if is_subscribed(each)}
            found = ((self._oldest.get(each, UNKNOWN), each) for each in subscribed)
            self._subscribed = sorted(found, reverse=True)
            for name in undecided - subscribed:
                self._suspects.setdefault(name, start)
            self._full = full
        if not self._full:
            return None
        behind = takewhile(lambda each: each[0] > start, self._subscribed)
        return [name for _, name in behind if not self._has_kept(name, start)]

    def _has_kept(self, name: str, start: int) -> bool:
        """Return whether the fetched messages show that a topic kept one from up to `start`."""
        seqs = self._coming.get(name, [])
        newer = len(seqs) - bisect_right(seqs, start)
        return self._batch.to_the_end and newer < self.limits.per_topic

    def is_suspect(self, name: str) -> bool:
        """Return whether it is open if a topic has lost messages."""
        return name in self._suspects

    async def look_up(self, name: str) -> None:
        """Ask for the oldest message of a suspect, unless that is known."""
        if name not in self._oldest:
            self._oldest |= await self._oldest_of({name})

    def decide(self, name: str, upto: int) -> bool:
        """Return whether a topic may have lost messages up to a number.

        From there on, it is a suspect only if it may have lost further ones.
        """
        start = self._suspects.pop(name, None)
        oldest = self._oldest.get(name, UNKNOWN)
        if start is None or oldest <= start:
            return False
        if oldest > upto:
            self._suspects[name] = upto
        return True

    def subscribe(self, name: str, upto: int) -> bool:
        """Return what `decide` does, for a topic that gets a subscriber now."""
        lost = self.decide(name, upto)
        if self._suspects.pop(name, None) is not None:
            self._subscribed.insert(0, (UNKNOWN, name))
        return lost

    def filled(self, *, current: bool) -> None:
        """Note that everything up to some moment was delivered; `current`: as the leader says."""
        self._filled_at = time.monotonic()
        if current:
            # All that they have was delivered, and there is no hole in it.
            self._suspects.clear()

    def clear(self) -> None:
        """Forget the stream: another one follows."""
        self._suspects.clear()

    async def oldest_of_full_topics(self) -> dict[str, int]:
        """Return the number of the oldest message of each topic at its limit."""
        return await self._oldest_of(await self._full_topics())

    async def _full_topics(self) -> set[str]:
        limit = self.limits.per_topic
        subjects = await self._remote.subjects()
        full = {self._stream.topic(each) for each, count in subjects.items() if 0 < limit <= count}
        # Other programs may have published under any subject.
        return {each for each in full if NAME.fullmatch(each)}

    async def _oldest_of(self, topics: Collection[str]) -> dict[str, int]:
        subjects = {self._stream.subject(each): each for each in topics}
        oldest = await self._remote.oldest(subjects)
        return {subjects[each]: seq for each, seq in oldest.items()}


def _numbers(batch: Batch) -> dict[str, list[int]]:
    """Return the numbers of the messages of each topic."""
    found: dict[str, list[int]] = {}
    for place, notification, _ in batch.messages:
        if notification is not None:
            found.setdefault(notification.topic, []).append(place.seq)
    return found
