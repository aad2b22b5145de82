"""One connection to the server: its address, its handshake, its frames, its end.

All traps of aiohttp's client are dealt with here. A failure is either `Refused`, which is final, or
`Lost`, after which another attempt may help.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp import WSMsgType
from yarl import URL

from aionotify.client.events import Event, parse
from aionotify.client.tokens import authorization

CLOSE_TIMEOUT = 1.0
"""Seconds that the server has to answer when the client closes the connection."""

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""The longest frame that is read. aiohttp's default, 4 MiB, is not enough: a message has up to
1 MiB (`AIONOTIFY_MAX_MESSAGE_BYTES`), and JSON escapes a control character to six bytes. A client
that refuses a notification would get it again after each reconnect."""

FINAL = (400, 401, 403)
"""Statuses that say that the request itself is wrong, so that repeating it cannot help.

404 is not one of them: some proxies answer with it while the server behind them restarts.
"""

SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""The scheme that is used for each that is accepted. aiohttp upgrades HTTP to WebSocket itself."""


class Refused(Exception):
    """The server, or a proxy before it, refused a request.

    `status` is the HTTP status, and `detail` the server's sentence about the problem.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{detail} (HTTP {status})")
        self.status = status
        self.detail = detail


class Lost(Exception):
    """There is no connection, but there may be one later. The message is the reason."""


def endpoint(server: str, name: str, **query: str) -> URL:
    """Return the address of an endpoint of the server at `server`, for HTTP and WebSocket.

    Raise ValueError if `server` is not the address of one.
    """
    base = URL(server)
    if base.scheme not in SCHEMES or not base.host or base.raw_query_string or base.raw_fragment:
        raise ValueError(
            f"server: invalid value {server!r} (expected the address of a server, such as "
            "https://example.com or https://example.com/prefix)"
        )
    return (base.with_scheme(SCHEMES[base.scheme]) / name).with_query(query)


def resume(address: URL, position: str | None) -> URL:
    """Return the address with which a subscription continues after `position`, if there is one."""
    return address if position is None else address.update_query(since=position)


def open_session(timeout: float | None) -> aiohttp.ClientSession:
    """Return a session whose requests raise Refused for error responses.

    A request takes `timeout` seconds at most.
    """
    return aiohttp.ClientSession(
        # For a WebSocket, aiohttp 3.14.5 applies it to the handshake only.
        timeout=aiohttp.ClientTimeout(total=timeout),
        raise_for_status=_check_status,
    )


async def _check_status(response: aiohttp.ClientResponse) -> None:
    """Raise Refused, with the server's own sentence if there is one, unless it is 101 or 2xx."""
    # `ws_connect` of aiohttp 3.14.5 drops the body of a response that is not 101, and its error
    # for bytes that are not HTTP has the status 400. Here, both can be told apart from a refusal.
    if response.status < 300:
        return
    try:
        document = json.loads(await response.read())
    except ValueError:  # not from our server
        document = None
    match document:
        case {"detail": str(detail)}:
            raise Refused(response.status, detail)
    raise Refused(response.status, response.reason or "unknown error")


async def server_time(session: aiohttp.ClientSession, address: URL) -> datetime | None:
    """Return the time by the server's clock, or that of a proxy; None if neither tells."""
    try:
        async with session.head(address, raise_for_status=False) as response:
            # Always in GMT (RFC 9110 §5.6.7), with seconds.
            return parsedate_to_datetime(response.headers.get("Date", "")).replace(tzinfo=UTC)
    except (aiohttp.ClientError, OSError, ValueError):
        return None


@contextlib.asynccontextmanager
async def open_websocket(
    session: aiohttp.ClientSession, address: URL, token: str | None, timeout: float
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Open a WebSocket, and close it at the end. Raise Refused or Lost if there is none."""
    try:
        ws = await session.ws_connect(
            address,
            headers=authorization(token),
            autoping=False,
            max_msg_size=MAX_FRAME_BYTES,
        )
    except Refused as refused:
        if refused.status in FINAL:
            raise
        raise Lost(str(refused)) from refused
    except TimeoutError as error:
        raise Lost(f"no answer within {timeout:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Lost(_text(error)) from error
    try:
        yield ws
    finally:
        # aiohttp 3.14.5 waits for the answer to its close frame, and waits anew for every frame
        # before that: without end, if the server goes on sending.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await ws.close()


async def receive(ws: aiohttp.ClientWebSocketResponse, timeout: float) -> Event | None:
    """Return the next frame with text, parsed. Raise Lost if the connection ends or is silent."""
    # Not the `heartbeat` of aiohttp 3.14.5: its pong counts as missing when the caller is slow and
    # aiohttp has paused reading for that reason. This time-out runs only while we wait for a frame.
    # Nor `autoping`: it swallows the pong, which would not end the silence.
    silent = False
    try:
        while True:
            try:
                frame = await ws.receive(timeout)
            except TimeoutError:
                if silent:
                    raise Lost(f"no sign of the server for {2 * timeout:g} s") from None
                silent = True
                await ws.ping()
                continue
            silent = False
            if frame.type is WSMsgType.TEXT:
                return parse(frame.data)
            if frame.type is WSMsgType.PING:
                await ws.pong(frame.data)
            elif frame.type is not WSMsgType.PONG:
                raise Lost(_reason(frame))
    except ValueError as error:
        raise Lost(f"invalid data: {error}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Lost(_text(error)) from error


def _text(error: Exception) -> str:
    """Return the text of an error of aiohttp 3.14.5; some of them have none."""
    if isinstance(error, aiohttp.ServerDisconnectedError):  # its text may be the dump of an object
        return "closed by the server without an answer"
    return str(error) or type(error).__name__


def _reason(frame: aiohttp.WSMessage) -> str:
    """Return why a connection ended: with this frame, which aiohttp may have made up."""
    match frame.type:
        case WSMsgType.CLOSE:
            code = f"{frame.data}: {frame.extra}" if frame.extra else f"{frame.data}"
            return f"closed by the server ({code})"
        case WSMsgType.ERROR:
            return f"invalid data: {frame.data}"
        case WSMsgType.BINARY:
            return "invalid data: a binary frame"
    return "connection lost"
