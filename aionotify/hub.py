"""Topics and their sets of subscribers: what the application's state holds."""

import asyncio
import time
from collections.abc import Iterator

from aionotify.fanout import Fanout
from aionotify.frames import CloseCode
from aionotify.log import Log
from aionotify.notification import Notification
from aionotify.topic import Topic
from aionotify.websocket import WebSocketSubscriber

PACE = 0.001
"""Seconds between two closings at the end, unless the grace asks for more haste."""

AT_ONCE = 100
"""Clients that are pinged before the event loop goes on to others."""


class Hub:
    """Every topic that somebody listens to or that retains something, and who listens."""

    def __init__(self, log_limit: int, ttl: float, max_connections: int) -> None:
        """`log_limit` notifications are retained for each topic, for `ttl` seconds."""
        self._log_limit = log_limit
        self._ttl = ttl
        self._topics: dict[str, Topic] = {}
        self._fanout = Fanout()
        self._max_connections = max_connections
        self._closing = False

    def topic(self, name: str) -> Topic:
        """The topic of that name, made if it is not there."""
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(name, Log(self._log_limit), self._fanout.wake)
        return topic

    def publish(self, topic: Topic, message: str, after: int) -> Notification:
        """Append to the log of `topic`, with an id above `after`; the fan-out does the rest."""
        now = time.time()
        topic.log.expire(now - self._ttl)
        notification = topic.log.append(message, now, after)
        self._fanout.wake(topic)
        return notification

    @property
    def connected(self) -> int:
        """How many WebSockets are open, over all topics."""
        return sum(len(topic.subscribers) for topic in self._topics.values())

    @property
    def open(self) -> bool:
        """Whether one more may join."""
        return not self._closing and self.connected < self._max_connections

    def subscribers(self) -> Iterator[WebSocketSubscriber]:
        """Everybody who is connected, as of now; but nobody who has left before its turn comes."""
        for topic in list(self._topics.values()):
            for subscriber in list(topic.subscribers):
                if subscriber in topic.subscribers:
                    assert isinstance(subscriber, WebSocketSubscriber)
                    yield subscriber

    async def heartbeat(self, interval: float) -> None:
        """Ping everybody every `interval` seconds, and cut off who was silent for two; for ever."""
        while True:
            await asyncio.sleep(interval)
            for number, subscriber in enumerate(self.subscribers()):
                if subscriber.silent >= 2:
                    subscriber.cut_off(f"it was silent for {interval * 2:g} s")
                else:
                    subscriber.ping()
                if number % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(0)

    async def close(self, grace: float) -> None:
        """Close everybody with 1012, one after another, and cut off who is left after `grace` s.

        Spread out, so that thousands do not reconnect in the same millisecond.
        """
        self._closing = True
        leaving = list(self.subscribers())
        deadline = time.monotonic() + grace
        pace = min(PACE, grace / 2 / max(1, len(leaving)))
        started = time.monotonic()
        for number, subscriber in enumerate(leaving):
            subscriber.close(CloseCode.SERVICE_RESTART, "the server restarts, reconnect")
            await asyncio.sleep(max(0, started + number * pace - time.monotonic()))
        # An event to wait for would be memory for each client, idle or not.
        while time.monotonic() < deadline and any(  # noqa: ASYNC110
            each.connected for each in leaving
        ):
            await asyncio.sleep(0.01)
        for subscriber in leaving:
            if subscriber.connected:
                subscriber.cut_off("it did not answer the close frame within the shutdown grace")
