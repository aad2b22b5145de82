"""A program that uses `aionotify.client.listen`, and keeps everything it is told."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from aionotify.client import Gap, Notification, State, listen
from tests.support.tasks import background
from tests.support.waiting import POLL_INTERVAL, eventually


class Listener:
    """The events and the states of one call of `listen`."""

    def __init__(self) -> None:
        self.events: list[Notification | Gap] = []
        self.states: list[State] = []

    @property
    def messages(self) -> list[str]:
        """The messages that were received, in order."""
        return [each.message for each in self.events if isinstance(each, Notification)]

    @property
    def gaps(self) -> list[Gap]:
        """The gaps that were received."""
        return [each for each in self.events if isinstance(each, Gap)]

    @property
    def connections(self) -> int:
        """How many connections were made."""
        return sum(each.connected for each in self.states)

    @property
    def reasons(self) -> list[str]:
        """Why there was no connection, once for each attempt."""
        return [each.reason for each in self.states if not each.connected]

    async def run(self, url: str, **options: Any) -> None:
        """Listen until cancelled."""
        async with aclosing(listen(url, on_state=self.states.append, **options)) as events:
            async for event in events:
                self.events.append(event)

    async def connects(self, number: int, seconds: float = 5) -> None:
        """Wait until a connection was made for the `number`th time."""
        await eventually(lambda: self.connections >= number, seconds, f"connection {number}")

    async def receives(self, *messages: str, seconds: float = 5) -> None:
        """Wait until exactly `messages` have been received."""

        def received() -> bool:
            assert self.messages == [*messages][: len(self.messages)], self.messages
            return len(self.messages) == len(messages)

        await eventually(received, seconds, f"{messages} are received")

    async def is_told(self, reason: str, seconds: float = 5) -> None:
        """Wait until `reason` is part of a reason for which there was no connection."""
        deadline = time.monotonic() + seconds
        while not any(reason in each for each in self.reasons):
            assert time.monotonic() < deadline, f"{reason!r} is not among {self.reasons}"
            await asyncio.sleep(POLL_INTERVAL)


@asynccontextmanager
async def listening(url: str, **options: Any) -> AsyncIterator[Listener]:
    """Listen in the background; AssertionError if that ends before the block does."""
    listener = Listener()
    async with background(listener.run(url, **options)):
        yield listener
