"""The messages of a WebSocket client, processed in order, one at a time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from aionotify.errors import ProtocolError


class Inbox:
    """Input of one client that waits: messages, and the end of the connection after them.

    It exists only while there is some, so that an idle client pays nothing for it.
    """

    __slots__ = ("_changed", "_receive", "_throttled", "ending", "messages", "task")

    def __init__(
        self, receive: Callable[[str], Awaitable[None]], throttled: Callable[[], bool]
    ) -> None:
        """Start empty; `receive` is awaited for each message, but not while `throttled()`."""
        self.messages: deque[str] = deque()
        self.ending: bytes | ProtocolError | None = None
        """The payload of a close frame, or a violation. Nothing after it is read."""
        self.task: asyncio.Task[None] | None = None
        """Processes the messages. The event loop alone would not keep it alive."""
        self._receive = receive
        self._throttled = throttled
        self._changed: asyncio.Future[None] | None = None

    async def process(self, read_more: Callable[["Inbox"], bool]) -> None:
        """Process messages until none is left, one turn of the event loop at a time.

        `read_more` reads further input into the inbox, and returns whether more may wait.
        """
        while True:
            while self.messages:
                await self._receive(self.messages.popleft())
                while self._throttled():
                    self._changed = asyncio.get_running_loop().create_future()
                    await self._changed
            if self.ending is not None:
                return
            await asyncio.sleep(0)
            if not read_more(self) and not self.messages:
                return

    def wake(self) -> None:
        """Look again whether the client is throttled."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
