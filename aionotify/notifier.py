"""What an endpoint can ask for: publish, recent, since, subscribe."""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from aionotify.broker import Broker
from aionotify.errors import EmptyMessage, MessageTooBig
from aionotify.fields import NO_FIELDS, Fields
from aionotify.hub import Hub
from aionotify.notification import MAIN, Draft, Notification
from aionotify.recents import by_rank
from aionotify.streams import following, is_complete
from aionotify.subscriber import Subscriber
from aionotify.topic import Topic

MAX_PAGE = 1024 * 1024
"""Bytes of notifications in one answer to a poll at most, unless a single one is larger."""


class Page(NamedTuple):
    """An answer to a poll: notifications, and the position to poll from next."""

    notifications: list[Notification]
    complete: bool
    """Whether nothing is missing since the position that was asked for."""
    id: int
    more: bool = False
    """Whether more notifications are retained after `id`."""


class Notifier:
    """The operations of the server, independent of the wire format and the broker."""

    def __init__(self, hub: Hub, broker: Broker, max_message_bytes: int, recent_limit: int) -> None:
        """`recent_limit` notifications are shown to clients that do not resume."""
        self._hub = hub
        self._broker = broker
        self._max_message_bytes = max_message_bytes
        self._recent_limit = recent_limit

    async def publish(
        self,
        text: str,
        name: str = MAIN,
        fields: Fields = NO_FIELDS,
        *,
        wait_stored: bool = False,
    ) -> Notification:
        """Publish `text`, stripped of white space at both ends, to all subscribers of a topic.

        When this returns, the notification is in the topic's history and on its way to every
        subscriber; with `wait_stored` it is kept beyond this process, too, if a broker answers.
        Raises EmptyMessage, MessageTooBig, and with `wait_stored` Unavailable when the server is
        stopping, because nothing may be left to store it.
        """
        draft = self.draft(text, name, fields)
        (notification,) = await self.publish_all([draft], wait_stored=wait_stored)
        return notification

    async def publish_all(
        self, drafts: Sequence[Draft], *, wait_stored: bool = False
    ) -> list[Notification]:
        """Publish all `drafts` or none, in order, even if the caller is cancelled meanwhile.

        Raises Unavailable as `publish` does.
        """
        if wait_stored:
            self._hub.ensure_accepting()
        publishing = self._broker.publish(drafts, wait_stored=wait_stored)
        if len(drafts) == 1:
            return await publishing
        # Many drafts take several turns of the event loop. In a task of their own, because that of
        # the request ends when its time to finish is over while the server stops.
        return await asyncio.shield(asyncio.create_task(publishing))

    def draft(self, text: str, name: str = MAIN, fields: Fields = NO_FIELDS) -> Draft:
        """Return `text`, stripped of white space at both ends, as a valid notification.

        Raises EmptyMessage and MessageTooBig.
        """
        message = text.strip()
        if not message:
            raise EmptyMessage("Empty notifications are not sent.")
        length = len(message.encode())
        if length + fields.size > self._max_message_bytes:
            what = "message and its fields have" if fields.size else "message has"
            raise MessageTooBig(
                f"The {what} {length + fields.size} bytes; the limit is {self._max_message_bytes}."
            )
        return Draft(name, message, length + len(fields.encoded), fields.encoded)

    async def recent(self, names: Sequence[str] = (MAIN,)) -> Page:
        """Return the newest notifications of each topic, in order."""
        topics = await self._open_fresh(names)
        notifications = self._recents(topics)
        total = sum(each.size for each in notifications)
        while total > MAX_PAGE and len(notifications) > 1:
            total -= notifications.pop(0).size
        page = Page(notifications, True, max(each.history.last_id for each in topics))
        self._discard_empty(topics)
        return page

    async def since(self, names: Sequence[str], id: int) -> Page:
        """Return the notifications retained after `id`, limited to `MAX_PAGE` bytes."""
        await self._broker.reach(id)
        topics = await self._open_fresh(names)
        histories = [each.history for each in topics]
        complete = is_complete(histories, id)
        starts = [each.after(id)[0] for each in histories]
        streams = [following(at, each, starts[at]) for at, each in enumerate(histories)]
        found: list[Notification] = []
        more, total = False, 0
        for _, _, notification, size in heapq.merge(*streams):
            assert notification is not None, "a retained position has no gap"
            total += size
            if total > MAX_PAGE and found:
                more = True
                break
            found.append(notification)
        last_id = max(each.last_id for each in histories)
        page = Page(found, complete, found[-1].id if more else last_id, more)
        self._discard_empty(topics)
        return page

    def recent_count(self, name: str = MAIN) -> int:
        """Return the number of recent notifications that this process knows of."""
        topic = self._hub.get_topic(name)
        return 0 if topic is None else len(self._recents([topic]))

    async def prepare(
        self, names: Sequence[str], address: str | None = None, since: int | None = None
    ) -> "Subscription":
        """Return a subscription to topics, after reading what other servers have stored.

        It may begin after the id `since`.

        Raises Unavailable if the server is stopping or the connection limit is reached, and
        TooManyRequests if that of the client's `address` is.
        """
        if since is not None:
            await self._broker.reach(since)
        await self._refresh(names)
        # After the last `await` before the client is counted, or many could pass it at once.
        self._hub.ensure_capacity(address)
        return Subscription(partial(self._subscribe, names))

    async def _refresh(self, names: Sequence[str]) -> None:
        if len(names) == 1:
            await self._broker.refresh(names[0])
        else:
            await asyncio.gather(*map(self._broker.refresh, names))

    async def _open_fresh(self, names: Sequence[str]) -> list[Topic]:
        await self._refresh(names)
        return [self._broker.open(name) for name in names]

    def _discard_empty(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            self._hub.discard_if_empty(topic)

    def _recents(self, topics: Sequence[Topic]) -> list[Notification]:
        """Return the newest notifications of each topic, in order."""
        count, oldest = self._recent_limit, self._hub.oldest()
        found = [each.history.recent(count, oldest) for each in topics]
        # One history is in order already, and its order may differ from that of the ids.
        recents = found[0] if len(found) == 1 else sorted(chain(*found), key=by_rank)
        return [each.notification for each in recents]

    def _subscribe(
        self, names: Sequence[str], subscriber: Subscriber, head: bytes, since: int | None
    ) -> None:
        topics = [self._broker.open(name) for name in names]
        feed = topics[0] if len(topics) == 1 else self._hub.merge(topics)
        if since is None:
            feed.subscribe_recent(subscriber, self._recents(topics), head)
        else:
            feed.subscribe_since(subscriber, since, head)


class Subscription:
    """The right to subscribe to topics, from `Notifier.prepare`. Start it without awaiting."""

    def __init__(self, start: Callable[[Subscriber, bytes, int | None], None]) -> None:
        self._start = start

    def start(self, subscriber: Subscriber, head: bytes, since: int | None = None) -> None:
        """Send `head`, the recent notifications, and from now on everything that is published.

        With `since`, everything after that id replaces the recent notifications. Reading the
        history and subscribing are one step without an `await`, so that nothing published in
        between is lost or sent twice.
        """
        self._start(subscriber, head, since)
