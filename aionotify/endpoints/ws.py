"""`GET /ws`: the handshake (RFC 6455 §4.2), and what the messages mean."""

import base64
import binascii
import hashlib

from aiohttp import web

from aionotify.access import Access
from aionotify.access.tokens import subprotocols
from aionotify.encoders import JSON, TEXT, compact_json
from aionotify.endpoints.notifications import ESCAPED, message_in
from aionotify.errors import EmptyMessage, InvalidRequest, MessageTooBig, PublishForbidden
from aionotify.frames import CloseCode
from aionotify.http import query
from aionotify.http.hijack import subscribe
from aionotify.http.responses import error_response
from aionotify.notification import Notification
from aionotify.notifier import Notifier
from aionotify.settings import Settings
from aionotify.websocket import WebSocketSubscriber

PREFIX = "admin:"

PROTOCOL = "aionotify"
"""The subprotocol that is agreed on with clients that offer it, beside a token or not."""

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocket:
    """Upgrades clients, and takes their messages."""

    def __init__(self, notifier: Notifier, settings: Settings, access: Access) -> None:
        self._notifier = notifier
        self._access = access
        self._settings = settings

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """`GET /ws`: 101 and the recents, or an error that says what is wrong."""
        admin = query.parameter(request, "client", "user") == "admin"
        if admin:
            self._access.require_publisher(request)
        problem = _problem(request)
        if problem is not None:
            return problem
        topic, is_json = query.topic(request), query.wants_json(request)
        since = query.since(request)
        if since is not None and not is_json:
            raise InvalidRequest("since needs format=json: texts cannot tell what was missed.")
        limit = self._settings.max_message_bytes + len(PREFIX)
        subscriber = WebSocketSubscriber(
            JSON if is_json else TEXT,
            self._settings.stall_timeout,
            admin=admin,
            topic=topic,
            limit=limit * ESCAPED + 1024 if is_json else limit,
            receive=self.receive_json if is_json else self.receive_text,
        )
        subscriber.client_address = self._access.client_address(request)
        head = _switching(request.headers["Sec-WebSocket-Key"], PROTOCOL in subprotocols(request))
        return await subscribe(request, self._notifier, topic, subscriber, head, since)

    async def receive_text(self, subscriber: WebSocketSubscriber, text: str) -> None:
        """A message: published, or answered with why it is not."""
        try:
            await self._publish(subscriber, text)
        except (PublishForbidden, EmptyMessage) as error:
            subscriber.reply(str(error))
        except MessageTooBig as error:
            subscriber.close(CloseCode.MESSAGE_TOO_BIG, str(error))

    async def receive_json(self, subscriber: WebSocketSubscriber, text: str) -> None:
        """`{"message":"…"}`: published and accepted, or answered with why it is not."""
        try:
            notification = await self._publish(subscriber, message_in(text))
        except (PublishForbidden, InvalidRequest) as error:
            document = {"type": "error", "detail": str(error)}
        except MessageTooBig as error:
            subscriber.close(CloseCode.MESSAGE_TOO_BIG, str(error))
            return
        else:
            document = {"type": "accepted", "id": str(notification.id)}
        subscriber.reply(compact_json(document).decode())

    async def _publish(self, subscriber: WebSocketSubscriber, text: str) -> Notification:
        prefixed = text.startswith(PREFIX) and self._access.publish_is_open
        if not subscriber.admin and not prefixed:
            raise PublishForbidden("You are not authorized to send notifications.")
        return await self._notifier.publish(text.removeprefix(PREFIX), subscriber.topic_name)


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


def _switching(key: str, with_protocol: bool) -> bytes:
    """The answer that completes the handshake (RFC 6455 §4.2.2)."""
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    protocol = f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n".encode() if with_protocol else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n" + protocol + b"\r\n"
    )
