"""The three things that an endpoint can ask: publish, recent, subscribe."""

from aionotify.cache import Cache
from aionotify.errors import EmptyMessage, MessageTooBig, TooManyConnections
from aionotify.hub import Hub
from aionotify.notification import Notification
from aionotify.subscriber import Subscriber
from aionotify.topic import Topic

MAIN = "main"
"""The topic that layer 1 speaks of."""


class Notifier:
    """What the server does, whatever the wire format."""

    def __init__(self, hub: Hub, cache: Cache, max_message_bytes: int) -> None:
        self._hub = hub
        self._cache = cache
        self._max_message_bytes = max_message_bytes

    async def start(self) -> None:
        """Go on where an earlier process left off."""
        await self._cache.refresh(MAIN)
        self._hub.topic(MAIN).log.seed(self._cache.recents(MAIN))

    async def publish(self, text: str) -> Notification:
        """Publish `text`, stripped of white space at both ends, to everybody.

        It is in the recents when this returns, and on its way to every subscriber.
        Raises EmptyMessage and MessageTooBig.
        """
        message = text.strip()
        if not message:
            raise EmptyMessage("Empty notifications are not sent.")
        size = len(message.encode())
        if size > self._max_message_bytes:
            raise MessageTooBig(
                f"The message has {size} bytes; {self._max_message_bytes} are accepted."
            )
        after = max((each.id for each in self._cache.recents(MAIN)), default=0)
        notification = self._hub.publish(self._hub.topic(MAIN), message, after)
        self._cache.add(MAIN, notification)
        return notification

    async def recent(self) -> list[Notification]:
        """The newest notifications, oldest first."""
        await self._cache.refresh(MAIN)
        return self._cache.recents(MAIN)

    def topic(self) -> Topic:
        """What a subscriber is made for. Raises TooManyConnections where none may join."""
        if not self._hub.open:
            raise TooManyConnections("Too many clients are connected. Try again in a while.")
        return self._hub.topic(MAIN)

    def join(self, topic: Topic, subscriber: Subscriber, head: bytes) -> None:
        """Send `subscriber` `head`, the recents, and from here on everything that is published.

        In one step, with nothing awaited in between: what is published later is sent later, and
        nothing falls into a seam. Await `recent` before, for what others have stored.
        """
        recents = self._cache.recents(topic.name)
        topic.join(subscriber)
        subscriber.write(head + subscriber.encoding.recents(recents), subscriber.cursor)
