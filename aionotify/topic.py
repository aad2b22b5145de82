"""A name that clients subscribe to, with what it retains and who listens."""

from collections import deque
from collections.abc import Callable

from aionotify.log import Log
from aionotify.subscriber import Subscriber
from aionotify.wire import MAX_BATCH


class Topic:
    """A log and its subscribers.

    `subscribers` is a dict for its order of joining: a set iterates in hash order, which misses
    the processor's caches. `behind` are those that the fan-out has yet to visit, `swept` the
    position up to which everybody has been put there.
    """

    __slots__ = ("_wake", "behind", "log", "name", "subscribers", "swept")

    def __init__(self, name: str, log: Log, wake: Callable[["Topic"], None]) -> None:
        """`wake` is called when somebody in `behind` can be written to."""
        self.name = name
        self.log = log
        self.subscribers: dict[Subscriber, None] = {}
        self.behind: deque[Subscriber] = deque()
        self.swept = log.head
        self._wake = wake

    def join(self, subscriber: Subscriber) -> None:
        """From here on `subscriber` is sent everything that is published."""
        subscriber.cursor = self.log.head
        self.subscribers[subscriber] = None

    def resumed(self, subscriber: Subscriber) -> None:
        """`subscriber` lagged, and can be written to again."""
        if subscriber.cursor < self.log.head:
            self.behind.append(subscriber)
            self._wake(self)

    def catch_up(self, subscriber: Subscriber) -> None:
        """Write what `subscriber` is behind, ahead of the sweep, as far as it can be written to."""
        while subscriber.ready and self.log.first <= subscriber.cursor < self.log.head:
            batch = self.log.between(subscriber.cursor, MAX_BATCH)
            end = subscriber.cursor + len(batch)
            subscriber.write(subscriber.encoding.notifications(batch), end)

    def left(self, subscriber: Subscriber) -> None:
        """`subscriber` is to be sent nothing more."""
        self.subscribers.pop(subscriber, None)
