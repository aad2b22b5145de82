"""Subscribe: one connection after another, without missing anything in between."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiohttp
from yarl import URL

from aionotify.client.backoff import Backoff
from aionotify.client.connection import (
    Lost,
    Refused,
    endpoint,
    open_session,
    open_websocket,
    receive,
    resume,
    server_time,
)
from aionotify.client.events import Authorized, Error, Gap, Notification, Subscribed
from aionotify.client.renewal import Renewal
from aionotify.client.tokens import Token, current_token

logger = logging.getLogger("aionotify.client")


@dataclass(frozen=True, slots=True)
class State:
    """The state of the connection. If it is not `connected`, the next attempt is in `wait` s."""

    connected: bool
    reason: str = ""
    wait: float = 0.0

    def __str__(self) -> str:
        return "connected" if self.connected else f"{self.reason}; retrying in {self.wait:.1f} s"


def log_state(state: State) -> None:
    """Log that the connection is lost as a warning, and that it is made as information."""
    logger.log(logging.INFO if state.connected else logging.WARNING, "%s", state)


def listen(
    server: str,
    topics: str | Sequence[str] = "main",
    *,
    token: Token | None = None,
    since: str | None = None,
    timeout: float = 15.0,
    on_state: Callable[[State], object] = log_state,
) -> AsyncGenerator[Notification | Gap, None]:
    """Yield the notifications of a topic, or of several, and reconnect without missing any.

    `server` is its address, without `/ws`; it may have the path prefix of a proxy.
    Without `since`, the recent notifications come first; with it, everything after that id, in all
    topics. If the server cannot send everything, a `Gap` comes first.

    `token` is a string, or a function, `async` or not. It is called before each connection, and
    before its token expires, which is then renewed on the connection. After an `OSError`, an
    `aiohttp.ClientError` or `timeout` seconds, it is called again later; other errors are raised.

    `timeout` is for the handshake. A connection that is silent for as long is pinged, and given up
    if nothing arrives for as long again.
    `on_state` is called with each change of the connection; by default, it is logged.

    Raise Refused if the server refuses the token (401, 403), the topics or `since` (400). With a
    function, the first 401 after a connection leads to another call of it instead.

    There is no queue: while the caller is busy with a notification, nothing more is read. After two
    of its heartbeats (50 s, unless changed) the server disconnects such a client; nothing is
    missed, because the next connection resumes after that notification.
    To close the connection as soon as the loop ends, wrap the call in `contextlib.aclosing`.
    """
    names = [topics] if isinstance(topics, str) else [*topics]
    if not names:
        raise ValueError("topics: is empty (expected the name of a topic, or several)")
    address = endpoint(server, "ws", format="json", topic=",".join(names))
    client = _Client(address, endpoint(server, "health"), token, timeout)
    return _listen(client, since, on_state)


async def _listen(
    client: "_Client", position: str | None, on_state: Callable[[State], object]
) -> AsyncGenerator[Notification | Gap, None]:
    backoff = Backoff()
    was_accepted = False
    async with open_session(client.timeout) as session:
        while True:
            try:
                async with client.connect(session, position) as connection:
                    was_accepted = True
                    backoff.connected()
                    on_state(State(connected=True))
                    while True:
                        event = await connection.receive()
                        position = event.id
                        if not isinstance(event, Subscribed):
                            yield event
            except Refused as refused:
                # A function may return a token that has expired since it was made, but two in a
                # row are wrong.
                if refused.status != 401 or not callable(client.token) or not was_accepted:
                    raise
                was_accepted = False
                state = State(False, str(refused), backoff.next())
            except Lost as lost:
                state = State(False, str(lost), backoff.next())
            on_state(state)
            await asyncio.sleep(state.wait)


@dataclass(frozen=True, slots=True)
class _Client:
    """What all connections of a listener have in common."""

    address: URL
    health: URL
    token: Token | None
    timeout: float

    @asynccontextmanager
    async def connect(
        self, session: aiohttp.ClientSession, position: str | None
    ) -> AsyncIterator["_Connection"]:
        """Connect with a current token, to resume after `position`. Raise Refused or Lost."""
        try:
            token = await current_token(self.token, self.timeout)
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(f"no token: {str(error) or type(error).__name__}") from error
        address = resume(self.address, position)
        async with open_websocket(session, address, token, self.timeout) as ws:
            clock = partial(server_time, session, self.health)
            renewal = Renewal(self.token, ws.send_str, clock, self.timeout)
            try:
                yield _Connection(ws, renewal, self.timeout)
            finally:
                await renewal.close()


@dataclass(frozen=True, slots=True)
class _Connection:
    """One connection, whose token is renewed while its events are received."""

    ws: aiohttp.ClientWebSocketResponse
    renewal: Renewal
    timeout: float

    async def receive(self) -> Notification | Gap | Subscribed:
        """Return the next event that has a position. Raise Lost at the end."""
        while True:
            event = await receive(self.ws, self.timeout)
            if isinstance(event, Subscribed | Authorized):
                await self.renewal.expires(event.expires)
            if isinstance(event, Error):
                # It answers a token: nothing else was sent. The old one is good until it expires.
                logger.warning("the server does not accept the new token: %s", event.detail)
            elif isinstance(event, Notification | Gap | Subscribed):
                return event
