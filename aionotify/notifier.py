"""The three things that an endpoint can ask: publish, recent, subscribe."""

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
    """What the server does, whatever the wire format."""

    def __init__(self, hub: Hub, cache: Cache, max_message_bytes: int) -> None:
        self._hub = hub
        self._cache = cache
        self._max_message_bytes = max_message_bytes

    async def start(self) -> None:
        """Go on where an earlier process left off."""
        await self._cache.refresh(MAIN)
        self._topic(MAIN)
        await self._cache.open(MAIN)

    async def publish(self, text: str, name: str = MAIN, *, stored: bool = False) -> Notification:
        """Publish `text`, stripped of white space at both ends, to everybody in a topic.

        It is in the recents when this returns, and on its way to every subscriber. With `stored`,
        it is in memcached, too, if one answers; and when the server stops, Unavailable is raised,
        for there may be nobody who keeps it. Raises EmptyMessage and MessageTooBig.
        """
        if stored:
            self._hub.check_open()
        message = text.strip()
        if not message:
            raise EmptyMessage("Empty notifications are not sent.")
        size = len(message.encode())
        if size > self._max_message_bytes:
            raise MessageTooBig(
                f"The message has {size} bytes; {self._max_message_bytes} are accepted."
            )
        await self._cache.open(name)
        # The fan-out is at work, and done in a few turns: an event would be set as often.
        while (topic := self._topic(name)).crowded:  # noqa: ASYNC110
            await asyncio.sleep(0)
        notification = self._hub.publish(topic, message, self._cache.newest(name))
        self._cache.add(name, notification)
        if stored:
            await self._cache.stored(name)
        return notification

    async def recent(self, name: str = MAIN) -> list[Notification]:
        """The newest notifications, oldest first."""
        await self._cache.refresh(name)
        return self._cache.recents(name)

    async def since(self, name: str, id: int) -> tuple[list[Notification], bool]:
        """All that is retained after the notification `id`, and whether that is all there was."""
        await self._cache.refresh(name)
        topic = self._topic(name)
        cursor, complete = topic.log.after(id)
        notifications = topic.log.between(cursor, sys.maxsize)
        self._hub.release(topic)
        return notifications, complete

    async def ready_for(self, name: str) -> None:
        """Learn what others have stored; then `join` at once. Raises Unavailable."""
        await self._cache.refresh(name)
        self._hub.check_room()

    def join(
        self, name: str, subscriber: Subscriber, head: bytes, since: int | None = None
    ) -> None:
        """Send `subscriber` `head`, the recents, and from here on everything that is published.

        With `since`, everything after that id in place of the recents. In one step, with nothing
        awaited in between: what is published later is sent later, and nothing falls into a seam.
        """
        topic = self._topic(name)
        if since is None:
            recents = self._cache.recents(name)
            topic.join(subscriber)
            subscriber.write(head + subscriber.encoding.recents(recents), subscriber.cursor)
        else:
            topic.resume(subscriber, since, head)

    def _topic(self, name: str) -> Topic:
        """The topic of that name, begun with what the cache knows if it is not there.

        Where that is not known to be complete (nothing is stored, or the process that stored it
        did not end cleanly), it may be that something was published and lost until now.
        """
        topic = self._hub.find(name)
        if topic is None:
            floor = self._cache.floor(name)
            recents = self._cache.recents(name)
            if floor is None:
                newest = max((each.id for each in recents), default=0)
                floor = max(int(time.time() * 1_000_000), newest + 1)
            topic = self._hub.open(name, floor, recents)
        return topic
