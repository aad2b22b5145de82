"""Clients whose token expires: their connections end with it, unless it is renewed."""

import asyncio
import time
from typing import Any, Protocol

from aionotify.eventstream import EventStream
from aionotify.frames import CloseCode
from aionotify.grants import Grant
from aionotify.subscriber import State, Subscriber
from aionotify.websocket import CLOSE_TIMEOUT, WebSocketSubscriber
from aionotify.yielding import yielding

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the time of day, which may have been set meanwhile."""

REASON = "the token expired"


class Expiring(Protocol):
    """A connected client whose token expires."""

    grant: Grant

    def expire(self) -> None:
        """End the connection, because the token has expired."""


class Expiry:
    """All connected clients whose token expires.

    One timer serves all. A client without such a token is not here, and has no slot for a grant.
    """

    def __init__(self) -> None:
        self.clients: dict[Expiring, None] = {}
        self._earliest = float("inf")

    def add(self, client: Expiring) -> None:
        """Watch `client`, or note that it has another grant."""
        self.clients[client] = None
        if client.grant.expires is not None:
            self._earliest = min(self._earliest, client.grant.expires)

    def remove(self, client: Expiring) -> None:
        """Forget `client`, which has disconnected. May be called more than once."""
        self.clients.pop(client, None)

    async def loop(self) -> None:
        """End connections whose token has expired, forever."""
        while True:
            # The time of day is read anew each second: a timer for each client would be set by a
            # clock that steps, or miss the step.
            await asyncio.sleep(CHECK_INTERVAL)
            await self.check()

    async def check(self) -> None:
        """End the connections whose token has expired by now."""
        # `_earliest` may belong to a client that has left or renewed its token: then this finds
        # nothing, and the next one.
        if time.time() < self._earliest:
            return
        self._earliest = float("inf")
        async for client in yielding(list(self.clients)):
            expires = client.grant.expires
            if client not in self.clients or expires is None:
                continue
            if expires <= time.time():
                self.remove(client)
                client.expire()
            else:
                self._earliest = min(self._earliest, expires)


class _Expiring(Subscriber):
    """The part that both kinds of clients share. It has no slots, or they could not have it."""

    __slots__ = ()

    _expiry: Expiry
    grant: Grant

    def __init__(self, grant: Grant, expiry: Expiry, *args: Any, **options: Any) -> None:
        """Create a client with `args` and `options`, and with the grant of its token."""
        super().__init__(*args, **options)
        # mypy does not look for slots in subclasses.
        self.grant, self._expiry = grant, expiry  # type: ignore[misc]

    @property
    def expires(self) -> int | None:
        """The time at which its token expires, in seconds since the epoch."""
        return self.grant.expires

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over `transport`, and watch the end of the token."""
        super().connection_made(transport)
        self._expiry.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Unsubscribe the client, and forget its token."""
        super().connection_lost(exc)
        self._expiry.remove(self)

    def expire(self) -> None:
        """End the connection, because the token has expired."""
        raise NotImplementedError


class ExpiringWebSocket(_Expiring, WebSocketSubscriber):
    """A WebSocket client whose token expires."""

    __slots__ = ("_expiry", "grant")

    def may_publish(self, topic: str) -> bool:
        """Return whether the client asked to be an admin, and its token allows it."""
        return self.admin and self.grant.may_publish(topic)

    def renew(self, grant: Grant) -> None:
        """Replace the grant, unless the connection is being closed."""
        if self.state < State.CLOSING:
            self.grant = grant
            self._expiry.add(self)

    def expire(self) -> None:
        """Close with 3000."""
        self.close(CloseCode.TOKEN_EXPIRED, REASON)


class ExpiringEventStream(_Expiring, EventStream):
    """An SSE client whose token expires."""

    __slots__ = ("_expiry", "grant")

    def expire(self) -> None:
        """End the stream. The client reconnects, and gets 401 unless it has a new token."""
        if self.state < State.CLOSING:
            self._report(REASON, REASON)
            self.end(CLOSE_TIMEOUT)
