"""The broker of a single process: ids from its own clock, recent notifications in memcached."""

import asyncio
import time
from collections.abc import Sequence

from aionotify.cache import Cache
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.notification import MAIN, Draft, Notification
from aionotify.topic import Topic
from aionotify.yielding import YIELD_EVERY


class LocalBroker:
    """Numbers notifications here, and has the cache replicate the recent ones to memcached."""

    def __init__(self, hub: Hub, cache: Cache, ids: IdSource) -> None:
        """`ids` is shared with the cache, which learns the ids of other processes."""
        self._hub = hub
        self._cache = cache
        self._ids = ids
        # Whatever an earlier process published is older than this.
        hub.forgotten.restore(ids.next(time.time()), {})
        hub.on_discard = cache.forget

    @property
    def connected(self) -> bool:
        """Whether a memcached answers."""
        return self._cache.connected

    @property
    def lag(self) -> None:
        """None: there are no other nodes."""

    async def start(self) -> None:
        """Connect to memcached, and continue where a process that stopped cleanly ended."""
        left = await self._cache.start()
        if left is not None:
            self._hub.forgotten.restore(left.before, left.last_ids)
        await self.refresh(MAIN)

    async def stop(self) -> None:
        """Write the remaining notifications, and leave the clean-shutdown marker."""
        await self._cache.stop(self._hub.forgotten.before, self._hub.last_ids())

    async def publish(self, drafts: Sequence[Draft], *, wait_stored: bool) -> list[Notification]:
        """Publish `drafts`; memcached never delays that, only the return if `wait_stored`."""
        notifications = []
        for number, draft in enumerate(drafts, 1):
            # Publishing faster than the fan-out delivers would evict unread notifications. The
            # topic is opened anew after each wait: it may have been discarded.
            while (behind := self._hub.behind(topic := self.open(draft.topic))) is not None:
                await behind.wait_delivered()
            now = time.time()
            notification = Notification(
                self._ids.next(now), int(now * 1000), draft.message, draft.topic, draft.fields
            )
            self._hub.publish(topic, notification, draft.size)
            self._cache.replicate(topic, notification.id)
            notifications.append(notification)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        if wait_stored:
            await self._cache.flush(*{draft.topic: None for draft in drafts})
        return notifications

    async def refresh(self, name: str) -> None:
        """Merge in what other servers have stored in memcached."""
        while self._cache.connected and not await self._cache.refresh(self.open(name)):
            # Another request has discarded the topic, which was empty, before this one had read
            # its value: that must be merged into the topic that is opened next.
            continue

    async def reach(self, id: int) -> None:
        """Do nothing: there is no other process to wait for."""

    def open(self, name: str) -> Topic:
        """Return the topic `name`, which is created if needed."""
        return self._hub.get_topic(name) or self._hub.create_topic(name)
