"""Subscribe and publish from Python: `listen` and `publish`. Needs aiohttp, not the server."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

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
)
from aionotify.client.events import Gap, Notification, parse

__all__ = ["Gap", "Notification", "Refused", "State", "listen", "publish"]

logger = logging.getLogger(__name__)


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
    url: str,
    topic: str = "main",
    *,
    token: str | None = None,
    since: str | None = None,
    timeout: float = 15.0,
    on_state: Callable[[State], object] = log_state,
) -> AsyncGenerator[Notification | Gap, None]:
    """Yield the notifications of `topic`, and reconnect for ever without missing any.

    `url` is the address of the server, without `/ws`; it may have the path prefix of a proxy.
    Without `since`, the recent notifications come first; with it, everything after that id.
    If the server cannot send everything, a `Gap` comes first.

    The server has `timeout` seconds to answer the handshake. If a connection is silent for as long,
    the server is pinged, and the connection is given up if nothing arrives for as long again.
    `on_state` is called with each change of the connection; by default, it is logged.

    Raise Refused if the server refuses the token (401, 403), the topic or `since` (400).

    There is no queue: while the caller is busy with a notification, nothing more is read, and the
    server keeps what follows. It disconnects a client that is busy for two of its heartbeats (50 s,
    unless changed); nothing is missed, because the next connection resumes after that notification.

    To close the connection as soon as the loop ends, wrap the call in `contextlib.aclosing`;
    otherwise, this is done when the generator is collected.
    """
    address = endpoint(url, "ws", format="json", topic=topic)
    return _listen(address, token, since, timeout, on_state)


async def _listen(
    address: URL,
    token: str | None,
    position: str | None,
    timeout: float,
    on_state: Callable[[State], object],
) -> AsyncGenerator[Notification | Gap, None]:
    backoff = Backoff()
    async with open_session(token, timeout) as session:
        while True:
            try:
                async with open_websocket(session, resume(address, position), timeout) as ws:
                    backoff.connected()
                    on_state(State(connected=True))
                    while True:
                        event = await receive(ws, timeout)
                        if event is not None:
                            position = event.id
                        if isinstance(event, Notification | Gap):
                            yield event
            except Lost as lost:
                state = State(False, str(lost), backoff.next())
            on_state(state)
            await asyncio.sleep(state.wait)


async def publish(
    url: str,
    message: str,
    topic: str = "main",
    *,
    token: str | None = None,
    timeout: float = 15.0,
) -> Notification:
    """Publish `message`, and return the notification once the server has stored it.

    `url` is the same as for `listen`.

    Raise Refused if the server refuses it, and ValueError if `url` is not an aionotify server.
    Raise aiohttp.ClientError or TimeoutError if there is no answer within `timeout` seconds: the
    message may have been published all the same.
    """
    address = endpoint(url, "notifications", topic=topic)
    async with (
        open_session(token, timeout) as session,
        # aiohttp 3.14.5 would follow 301 and 302, such as those to https, with a GET. It warns of
        # bytes above 1 MiB, which are written in one piece, but not of a file.
        session.post(
            address,
            data=io.BytesIO(json.dumps({"message": message}).encode()),
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
        ) as response,
    ):
        notification = parse(await response.text())
    if not isinstance(notification, Notification):
        raise ValueError(f"{url} is not the address of an aionotify server")
    return notification
