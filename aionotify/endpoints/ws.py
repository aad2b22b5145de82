"""`GET /ws`: upgrades clients to WebSocket (RFC 6455 §4.2)."""

from functools import partial

from aiohttp import web

from aionotify.access.tokens import subprotocols
from aionotify.decoders import max_json_bytes
from aionotify.encoders import JSON, TEXT
from aionotify.expiry import ExpiringWebSocket
from aionotify.grants import Grant
from aionotify.http.handshake import handshake_key
from aionotify.http.heads import SUBPROTOCOL, switching_protocols
from aionotify.http.hijack import subscribe
from aionotify.http.query import (
    Format,
    SubscribeRequest,
    is_admin,
    topics_to_read,
    websocket_request,
)
from aionotify.keys import ACCESS, EXPIRY, NOTIFIER, RECEIVER, SETTINGS
from aionotify.receiver import ADMIN_PREFIX
from aionotify.websocket import WebSocketSubscriber


async def connect(request: web.Request) -> web.StreamResponse:
    """Answer `GET /ws[?client=][&topic=][&format=][&since=]` with 101 and notifications."""
    access = request.app[ACCESS]
    grant = access.lasting_grant(request)
    admin = is_admin(request)
    if admin:
        # Here and not in the middleware: which token a route needs depends on the query only here.
        access.require_publisher(request, topics_to_read(request))
    key = handshake_key(request)
    wanted = websocket_request(request, access.client_address(request))
    sender = access.sender(request) if admin else b""
    subscriber = _subscriber(request.app, wanted, grant, admin=admin, sender=sender)
    head = switching_protocols(key, with_subprotocol=SUBPROTOCOL in subprotocols(request))
    return await subscribe(request, request.app[NOTIFIER], wanted, subscriber, head)


def _subscriber(
    app: web.Application,
    wanted: SubscribeRequest,
    grant: Grant | None,
    *,
    admin: bool,
    sender: bytes,
) -> WebSocketSubscriber:
    settings, receiver = app[SETTINGS], app[RECEIVER]
    is_json = wanted.format is Format.JSON
    # The prefix is not part of the message, so it does not count.
    limit = settings.max_message_bytes + len(ADMIN_PREFIX)
    create = (
        WebSocketSubscriber if grant is None else partial(ExpiringWebSocket, grant, app[EXPIRY])
    )
    return create(
        JSON if is_json else TEXT,
        settings.stall_timeout,
        admin=admin,
        limit=max_json_bytes(limit) if is_json else limit,
        receive=receiver.receive_json if is_json else receiver.receive_text,
        sender=sender,
    )
