"""What an endpoint can ask for: publish, recent, since, subscribe."""

import asyncio
import sys
import time

from aionotify.cache import Cache
from aionotify.errors import EmptyMessage, MessageTooBig
from aionotify.hub import Hub
from aionotify.notification import MAIN, Notification
from aionotify.subscriber import Subscriber
from aionotify.topic import Topic


class Notifier:
    """The operations of the server, independent of the wire format."""

    def __init__(self, hub: Hub, cache: Cache, max_message_bytes: int) -> None:
        self._hub = hub
        self._cache = cache
        self._max_message_bytes = max_message_bytes

    async def start(self) -> None:
        """Continue where an earlier process ended."""
        await self._cache.refresh(MAIN)
        self.topic(MAIN)
        await self._cache.begin_writes(MAIN)

    async def publish(
        self, text: str, name: str = MAIN, *, wait_stored: bool = False
    ) -> Notification:
        """Publish `text`, stripped of white space at both ends, to all subscribers of a topic.

        When this returns, the notification is among the recent ones and on its way to every
        subscriber; with `wait_stored` it is in memcached, too, if one is available.
        Raises EmptyMessage, MessageTooBig, and with `wait_stored` Unavailable when the server is
        stopping, because nobody may be left to store it.
        """
        if wait_stored:
            self._hub.ensure_accepting()
        message = text.strip()
        if not message:
            raise EmptyMessage("Empty notifications are not sent.")
        size = len(message.encode())
        if size > self._max_message_bytes:
            raise MessageTooBig(
                f"The message has {size} bytes; the limit is {self._max_message_bytes}."
            )
        await self._cache.begin_writes(name)
        # The fan-out needs a few turns of the loop; an event would be set just as often.
        while (topic := self.topic(name)).backlogged:  # noqa: ASYNC110
            await asyncio.sleep(0)
        notification = self._hub.publish(topic, message, self._cache.newest(name))
        self._cache.add(name, notification)
        if wait_stored:
            await self._cache.flush(name)
        return notification

    async def recent(self, name: str = MAIN) -> list[Notification]:
        """Return the newest notifications of a topic, oldest first."""
        await self._cache.refresh(name)
        return self._cache.recents(name)

    async def since(self, name: str, id: int) -> tuple[list[Notification], bool]:
        """Return everything retained after notification `id`, and whether nothing is missing."""
        await self._cache.refresh(name)
        topic = self.topic(name)
        cursor, complete = topic.history.after(id)
        notifications = topic.history.between(cursor, sys.maxsize)
        self._hub.discard_if_empty(topic)
        return notifications, complete

    async def prepare(self, name: str) -> "Subscription":
        """Return a subscription to a topic, after reading what other servers have stored.

        Raises Unavailable if the server is stopping or the connection limit is reached.
        """
        await self._cache.refresh(name)
        self._hub.ensure_capacity()
        return Subscription(self, self._cache, name)

    def topic(self, name: str) -> Topic:
        """Return the topic `name`, created from the stored recent notifications if needed.

        If these are not known to be complete (nothing is stored, or the process that stored them
        did not stop cleanly), the new topic is complete since now only: a client that resumes
        from before gets a gap. Rather a gap too many than one too few.
        """
        topic = self._hub.get_topic(name)
        if topic is None:
            complete_since = self._cache.complete_since(name)
            recents = self._cache.recents(name)
            if complete_since is None:
                newest = max((each.id for each in recents), default=0)
                complete_since = max(int(time.time() * 1_000_000), newest + 1)
            topic = self._hub.create_topic(name, complete_since, recents)
        return topic


class Subscription:
    """The right to subscribe to a topic, from `Notifier.prepare`. Start it without awaiting."""

    def __init__(self, notifier: Notifier, cache: Cache, name: str) -> None:
        self._notifier = notifier
        self._cache = cache
        self._name = name

    def start(self, subscriber: Subscriber, head: bytes, since: int | None = None) -> None:
        """Send `head`, the recent notifications, and from now on everything that is published.

        With `since`, everything after that id replaces the recent notifications. Reading the
        history and subscribing are one step without an `await`, so that nothing published in
        between is lost or sent twice.
        """
        topic = self._notifier.topic(self._name)
        if since is None:
            recents = self._cache.recents(self._name)
            topic.subscribe(subscriber)
            batch = subscriber.encoder.encode(recents, recent=True)
            subscriber.write(head + batch, subscriber.cursor)
        else:
            topic.subscribe_since(subscriber, since, head)
