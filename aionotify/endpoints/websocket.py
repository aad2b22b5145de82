"""`GET /ws`: the handshake (RFC 6455 §4.2), and what the texts of layer 1 mean."""

import base64
import binascii
import hashlib

from aiohttp import web

from aionotify.endpoints.answers import error_response
from aionotify.endpoints.takeover import Takeover, take_over
from aionotify.errors import EmptyMessage, MessageTooBig, TooManyConnections
from aionotify.frames import CloseCode
from aionotify.notifier import Notifier
from aionotify.settings import Settings
from aionotify.websocket import WebSocketSubscriber
from aionotify.wire import TEXT

PREFIX = "admin:"
RETRY_AFTER = "5"
REFUSAL = "You are not authorized to send notifications."

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocket:
    """Upgrades clients, and takes their messages."""

    def __init__(self, notifier: Notifier, settings: Settings) -> None:
        self._notifier = notifier
        self._settings = settings

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """`GET /ws`: 101 and the recents, or an error that says what is wrong."""
        problem = _problem(request)
        if problem is not None:
            return problem
        try:
            topic = self._notifier.topic()
        except TooManyConnections as error:
            return error_response(503, str(error), {"Retry-After": RETRY_AFTER})
        subscriber = WebSocketSubscriber(
            topic,
            TEXT,
            self._settings.stall_timeout,
            admin=request.query.getall("client", ["user"])[-1] == "admin",
            limit=self._settings.max_message_bytes + len(PREFIX),
            receive=self.receive,
        )
        await self._notifier.recent()
        rest = take_over(request, subscriber)
        self._notifier.join(topic, subscriber, _switching(request.headers["Sec-WebSocket-Key"]))
        if rest:
            subscriber.data_received(rest)
        return Takeover(status=101)

    async def receive(self, subscriber: WebSocketSubscriber, text: str) -> None:
        """A text message: published, or answered with why it is not."""
        if not subscriber.admin and not text.startswith(PREFIX):
            subscriber.answer(REFUSAL)
            return
        try:
            await self._notifier.publish(text.removeprefix(PREFIX))
        except EmptyMessage as error:
            subscriber.answer(str(error))
        except MessageTooBig as error:
            subscriber.close(CloseCode.MESSAGE_TOO_BIG, str(error))


def _problem(request: web.Request) -> web.Response | None:
    """The answer to a request that asks for no WebSocket, or not as RFC 6455 §4.2.1 says."""
    headers = request.headers
    options = ",".join(headers.getall("Connection", [])).lower().split(",")
    connection = {option.strip() for option in options}
    if headers.get("Upgrade", "").strip().lower() != "websocket" or "upgrade" not in connection:
        return error_response(426, "Upgrade Required", {"Upgrade": "websocket"})
    if headers.get("Sec-WebSocket-Version") != "13":
        return error_response(
            426,
            "Only version 13 of the WebSocket protocol is spoken here.",
            {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        )
    try:
        key = base64.b64decode(headers.get("Sec-WebSocket-Key", ""), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 16:
        return error_response(400, "Sec-WebSocket-Key must be 16 bytes in base64.")
    return None


def _switching(key: str) -> bytes:
    """The answer that completes the handshake (RFC 6455 §4.2.2)."""
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )
