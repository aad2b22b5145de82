"""A new token for a connection, before the present one expires."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aiohttp

from aionotify.client.tokens import Token, current_token

logger = logging.getLogger("aionotify.client")

FRACTION = 0.75
"""The part of a token's remaining life after which it is renewed."""

MIN_WAIT = 1.0
"""Seconds before a renewal, at least: no clock and no token makes it an endless loop."""


class Renewal:
    """Sends a new token over one connection whenever the present one is about to expire.

    If that fails, the server closes the connection when the token expires, and nothing is missed
    either: the next connection has a new token. So an error of the function is reported here as
    that of any task is, and is raised to the caller when the next connection needs a token.
    """

    def __init__(
        self,
        token: Token | None,
        send: Callable[[str], Awaitable[None]],
        server_time: Callable[[], Awaitable[datetime | None]],
        timeout: float,
    ) -> None:
        """Renew nothing unless `token` is a function; `server_time` returns None if unknown."""
        self._token = token
        self._send = send
        self._server_time = server_time
        self._timeout = timeout
        self._task: asyncio.Task[None] | None = None

    async def expires(self, time: datetime | None) -> None:
        """Note that the server accepts the present token until `time`; None: for ever."""
        await self.close()
        if time is not None and callable(self._token):
            self._task = asyncio.create_task(self._renew(time))

    async def close(self) -> None:
        """Renew nothing anymore."""
        task, self._task = self._task, None
        # `cancel` of a task that has failed would keep asyncio from reporting its error.
        if task is not None and not task.done():
            task.cancel()
            # Unlike `await task`, this cannot take our own cancellation for that of the task.
            await asyncio.wait([task])

    async def _renew(self, expires: datetime) -> None:
        # The wall clock of this machine may be wrong, and may jump. So the server's is compared
        # once, if it tells, and from then on only the event loop's counts, which is monotonic.
        now = await self._server_time() or datetime.now(UTC)
        loop = asyncio.get_running_loop()
        end = loop.time() + (expires - now).total_seconds()
        while True:
            await asyncio.sleep(max(MIN_WAIT, (end - loop.time()) * FRACTION))
            try:
                token = await current_token(self._token, self._timeout)
                await self._send(json.dumps({"token": token}))
                return
            except (aiohttp.ClientError, OSError) as error:
                logger.warning("no new token yet: %s", str(error) or type(error).__name__)
