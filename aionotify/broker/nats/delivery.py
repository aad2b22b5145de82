"""Brings the messages of the stream into the histories, in order."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Sequence

from aionotify.broker.nats.publisher import Publisher
from aionotify.broker.nats.remote import Remote
from aionotify.broker.nats.stream import Info, Message, Stream, differences
from aionotify.errors import KeyReused
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.notification import Draft, Notification
from aionotify.topic import Topic
from aionotify.yielding import YIELD_EVERY

logger = logging.getLogger(__name__)


class HubDelivery:
    """Feeds the topics of a hub, and knows from where on each of them is complete.

    The stream drops messages in two ways: the oldest of all, when they expire, and the oldest of a
    topic that has more than its limit. So a topic below the limit is complete since the oldest
    message of the stream.
    """

    def __init__(self, hub: Hub, stream: Stream, remote: Remote, publisher: Publisher) -> None:
        self._hub = hub
        self._stream = stream
        self._remote = remote
        self._publisher = publisher
        # Nothing is known before the stream was read.
        self._horizon = hub.horizon = IdSource()
        self._limit = 0
        self._max_age = 0.0
        self._counts: dict[str, int] | None = {}
        self._overflowed: set[str] | None = None
        self._filled_at = time.monotonic()
        self._expected: dict[str, Notification | None] = {}
        self._delivered = 0

    def begin(self, info: Info, complete_since: int) -> None:
        """Note from which id on nothing is missing, and the limits of the stream."""
        self._use(info)
        self._horizon.last = complete_since
        self._hub.lose(complete_since)
        if found := differences(info.config, self._remote.wanted()):
            logger.warning("the stream has other limits than this node: %s", ", ".join(found))

    async def deliver(self, message: Message) -> None:
        """Append a notification to its history, when the fan-out is not far behind."""
        notification = message.notification
        if notification is not None:
            topic = await self._ready(notification.topic)
            self._note_loss(topic, notification.id)
            self._horizon.last = message.place.seq
            self._hub.publish(topic, notification, notification.size)
            if message.key in self._expected:
                self._expected[message.key] = notification
        self._horizon.last = message.place.seq
        self._delivered += 1
        if self._delivered % YIELD_EVERY == 0:
            await asyncio.sleep(0)

    async def lost(self, upto: int) -> None:
        """Find out which topics may have lost notifications, and tell their subscribers."""
        if self._overflowed is None:
            subjects = await self._remote.subjects()
            full = {name for name, count in subjects.items() if 0 < self._limit <= count}
            if time.monotonic() - self._filled_at > self._max_age:
                full = set()  # anything may have expired
            self._overflowed = full
        if not self._overflowed:
            self._horizon.last = upto
            self._hub.lose(upto)

    def filled(self) -> None:
        """Note that nothing is missing at the moment."""
        self._filled_at = time.monotonic()
        self._counts = self._overflowed = None

    def restart(self, complete_since: int) -> None:
        """Tell all subscribers that notifications may be missing."""
        self._horizon.last = complete_since
        self._hub.lose(complete_since)

    @contextlib.contextmanager
    def expecting(self, keys: Sequence[str]) -> Iterator[None]:
        """Keep the notifications with these keys when they arrive, while the context lasts."""
        for key in keys:
            self._expected[key] = None
        try:
            yield
        finally:
            for key in keys:
                self._expected.pop(key, None)

    def published(self, draft: Draft, key: str, seq: int) -> Notification:
        """Return the notification stored for `draft` at the place `seq`, which was delivered here.

        Raises KeyReused if its key belongs to another notification.
        """
        found = self._expected.get(key) or self._retained(draft.topic, seq)
        if found is None:
            # Published long before with the same key, and no longer retained.
            now = int(time.time() * 1000)
            return Notification(seq, now, draft.message, draft.topic, draft.fields)
        if (found.message, found.fields) != (draft.message, draft.fields):
            raise KeyReused(
                "The idempotency key was used for another message within the last ten minutes "
                "(expected a new key for each message)."
            )
        return found

    def _use(self, info: Info) -> None:
        self._limit = info.config.get("max_msgs_per_subject") or 0
        self._max_age = (info.config.get("max_age") or 0) / 1e9 or float("inf")
        self._publisher.atomic = bool(info.config.get("allow_atomic"))

    async def _ready(self, name: str) -> Topic:
        """Return a topic that can be published to without evicting unread notifications."""
        while True:
            # Opened anew after each wait: it may have been discarded.
            topic = self._hub.get_topic(name) or self._hub.create_topic(name)
            behind = self._hub.behind(topic)
            if behind is None:
                return topic
            await behind.wait_delivered()

    def _note_loss(self, topic: Topic, id: int) -> None:
        """Note that notifications before `id` may be missing, if the topic has overflowed."""
        if self._counts is not None:
            # While the stream is read for the first time: the topic is at its limit.
            count = self._counts[topic.name] = self._counts.get(topic.name, 0) + 1
            if count == self._limit:
                topic.history.lose_before((topic.history.oldest_id if count > 1 else id) - 1)
        elif self._overflowed:
            subject = self._stream.subject(topic.name)
            if subject in self._overflowed:
                self._overflowed.discard(subject)
                self._hub.lose_topic(topic, id - 1)

    def _retained(self, name: str, seq: int) -> Notification | None:
        topic = self._hub.get_topic(name)
        if topic is None:
            return None
        position, _ = topic.history.after(seq - 1)
        if position < topic.history.head:
            found = topic.history.between(position, 1)[0]
            if found.id == seq:
                return found
        return None
