"""The broker: it gives notifications their order and keeps them beyond this process."""

from collections.abc import Sequence
from typing import Protocol

from aionotify.notification import Draft, Notification
from aionotify.topic import Topic


class Broker(Protocol):
    """The part of a broker that the notifier uses.

    The tests in `tests/support/broker_contract.py` hold for every implementation.
    """

    @property
    def connected(self) -> bool:
        """Whether notifications are kept beyond this process: `cache_status` in `/health`."""

    @property
    def lag(self) -> int | None:
        """Notifications of other nodes that have not arrived, as far as is known; None: no NATS."""

    async def start(self) -> None:
        """Continue where an earlier process ended. Takes a few seconds at most, never fails."""

    async def stop(self) -> None:
        """Store the remaining notifications, and disconnect. Takes a few seconds at most."""

    async def publish(self, drafts: Sequence[Draft], *, wait_stored: bool) -> list[Notification]:
        """Publish all of `drafts` or none, in order; they are in their histories on return.

        With `wait_stored`, they are also kept beyond this process, as far as the broker promises.
        Raises Unavailable if that fails; the message tells whether something may be published.
        """

    async def refresh(self, name: str) -> None:
        """Learn what other processes have published in a topic.

        Raises Unavailable if nothing is known of any topic yet.
        """

    async def reach(self, id: int) -> None:
        """Wait for the notification `id`, if another process may have published it.

        Raises Unavailable if that takes too long.
        """

    def open(self, name: str) -> Topic:
        """Return the topic `name`, created with everything that is known of it."""
