"""Brings the messages of the stream into the histories, in order."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Sequence

from aionotify.broker.nats.losses import Limits, Losses
from aionotify.broker.nats.publisher import Publisher
from aionotify.broker.nats.remote import Batch, Remote
from aionotify.broker.nats.stream import Info, Message, Stream, differences
from aionotify.errors import BrokerError, KeyReused
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.notification import Draft, Notification
from aionotify.topic import Topic
from aionotify.yielding import YIELD_EVERY

logger = logging.getLogger(__name__)


class HubDelivery:
    """Feeds the topics of a hub, and notes from where on each of them is complete."""

    def __init__(self, hub: Hub, stream: Stream, remote: Remote, publisher: Publisher) -> None:
        self._hub = hub
        self._remote = remote
        self._publisher = publisher
        self._losses = Losses(stream, remote)
        # Nothing is known before the stream was read.
        self._horizon = hub.horizon = IdSource()
        self._started = False
        self._expected: dict[str, Notification | None] = {}
        self._delivered = 0

    def begin(self, info: Info, complete_since: int) -> None:
        """Note from which id on nothing is missing, and the limits of the stream."""
        self._losses.limits = Limits.of(info.config)
        self._publisher.atomic = bool(info.config.get("allow_atomic"))
        self._horizon.last = complete_since
        self._hub.lose(complete_since)
        if found := differences(info.config, self._remote.wanted()):
            logger.warning("the stream has other limits than this node: %s", ", ".join(found))

    def fetched(self, batch: Batch) -> None:
        """Note that these messages were fetched, and will be delivered next."""
        self._losses.fetched(batch)

    async def deliver(self, message: Message) -> None:
        """Append a notification to its history, when the fan-out is not far behind."""
        notification = message.notification
        if notification is not None:
            if self._losses.is_suspect(notification.topic):
                await self._losses.look_up(notification.topic)
            topic = await self._ready(notification.topic)
            if self._losses.decide(notification.topic, notification.id):
                self._hub.lose_topic(topic, notification.id - 1)
            self._horizon.last = message.place.seq
            self._hub.publish(topic, notification, notification.size)
            if message.key in self._expected:
                self._expected[message.key] = notification
        self._horizon.last = message.place.seq
        self._delivered += 1
        if self._delivered % YIELD_EVERY == 0:
            await asyncio.sleep(0)

    async def lost(self, upto: int) -> None:
        """Tell subscribers that notifications up to an id may be missing in their topics."""
        # While the stream is read for the first time there are no subscribers: see `filled`.
        if self._started:
            topics = await self._losses.in_hole(self._horizon.last, self._is_subscribed)
            if topics is None:
                logger.warning(
                    "notifications up to id %d were removed from the stream before this node has "
                    "read them: clients get a gap",
                    upto,
                )
                self._hub.lose(upto)
            for name in topics or ():
                self._hub.lose_topic(self._topic(name), upto)
        self._horizon.last = upto

    async def refresh(self, name: str) -> None:
        """Find out, if it is open, whether a topic has lost notifications."""
        if self._losses.is_suspect(name):
            with contextlib.suppress(BrokerError):  # then `open` has to assume it
                await self._losses.look_up(name)

    def open(self, name: str) -> Topic:
        """Return a topic whose history promises nothing that this node does not know."""
        topic = self._topic(name)
        if self._losses.subscribe(name, self._horizon.last):
            self._hub.lose_topic(topic, self._horizon.last)
        return topic

    async def filled(self, *, current: bool) -> None:
        """Note that everything up to some moment was delivered; `current`: as the leader says."""
        if not self._started:
            await self._limit_promises()
            self._started = True
        self._losses.filled(current=current)

    def restart(self, complete_since: int) -> None:
        """Tell all subscribers that notifications may be missing."""
        self._losses.clear()
        self._horizon.last = complete_since
        self._hub.lose(complete_since)

    async def _limit_promises(self) -> None:
        """Note from where on each topic is complete, once the stream was read for the first time.

        Only now, because the stream goes on removing messages while it is read, also unread ones.
        Messages that it removes behind the last one that was read make a hole later.
        """
        expired = (await self._remote.info()).first_seq - 1
        oldest = await self._losses.oldest_of_full_topics()
        read = self._horizon.last
        self._hub.lose_before(min(expired, read))
        for name, seq in oldest.items():
            self._topic(name).history.lose_before(min(seq - 1, read))

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

    def _topic(self, name: str) -> Topic:
        return self._hub.get_topic(name) or self._hub.create_topic(name)

    def _is_subscribed(self, name: str) -> bool:
        topic = self._hub.get_topic(name)
        return topic is not None and bool(topic.subscribers)

    async def _ready(self, name: str) -> Topic:
        """Return a topic that can be published to without evicting unread notifications."""
        while True:
            # Opened anew after each wait: it may have been discarded.
            topic = self._topic(name)
            behind = self._hub.behind(topic)
            if behind is None:
                return topic
            await behind.wait_delivered()

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
