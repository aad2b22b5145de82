"""Takes a connection away from aiohttp once its request has been understood.

aiohttp keeps a task, a request, a parser and their buffers for as long as a WebSocket or an event
stream lasts: 9 of the 13 KiB that an idle client would take. A subscriber is the protocol of its
transport itself, and needs none of them.

Everything here depends on internals of aiohttp, checked against 3.14.5. If one of them changes, the
tests of `/ws` and `/events` fail: a connection closes early, or input is lost.
"""

from aiohttp import web

from aionotify.http.heads import Head
from aionotify.http.protocol import HttpProtocol
from aionotify.http.query import SubscribeRequest
from aionotify.notifier import Notifier
from aionotify.subscriber import Subscriber


class HijackedResponse(web.StreamResponse):
    """Stands in for the response that the subscriber sends itself.

    A handler must return a response. aiohttp 3.14.5 calls both of these methods on it
    (`RequestHandler.finish_response`), and reads its status for the access log.
    """

    async def prepare(self, request: web.BaseRequest) -> None:
        """Do nothing; the subscriber has sent the head."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing; the subscriber owns the connection."""


async def subscribe(
    request: web.Request,
    notifier: Notifier,
    wanted: SubscribeRequest,
    subscriber: Subscriber,
    head: Head,
) -> HijackedResponse:
    """Answer `request` with `head` and the notifications that `subscriber` is to receive.

    Raise Unavailable or TooManyRequests if the server accepts no more clients, from this address or
    at all, and ConnectionResetError if the client has disconnected.
    """
    address = wanted.client_address or request.remote
    subscription = await notifier.prepare(wanted.topics, address, wanted.since)
    # No await from here on: the event loop must not call the subscriber before it has a topic.
    subscriber.client_address = wanted.client_address
    leftover = _take_over(request, subscriber)
    subscription.start(subscriber, head.data, wanted.since)
    if leftover:
        subscriber.data_received(leftover)
    return HijackedResponse(status=head.status)


def _take_over(request: web.Request, subscriber: Subscriber) -> bytes:
    """Make `subscriber` the protocol of the connection, and return the input after the request.

    Nothing of the response may have been sent: a subscriber needs an empty write buffer.
    Raise ConnectionResetError if the client has disconnected.
    """
    transport, protocol = request.transport, request.protocol
    if transport is not None and isinstance(protocol, HttpProtocol) and protocol.half_closed:
        transport.close()  # the client has probably left, and nothing would tell the subscriber
    if transport is None or transport.is_closing():
        # aiohttp 3.14.5 ends a request quietly on any ConnectionError (`RequestHandler.start`).
        raise ConnectionResetError("the client has disconnected")
    # After a request with `Upgrade`, aiohttp 3.14.5 stops parsing and keeps the rest of the input
    # in `RequestHandler._message_tail`. `set_parser` is the public way to get it: WebSocketResponse
    # passes its frame reader. Frames right behind the handshake would be lost without this.
    leftover = _LeftoverParser()
    protocol.set_parser(leftover)  # type: ignore[arg-type]  # it needs the two methods only
    transport.set_protocol(subscriber)
    subscriber.connection_made(transport)
    # `connection_lost` frees what aiohttp keeps: the parser, the keep-alive timer, and the entry in
    # `web.Server.connections`, by which a shutdown would close the transport under the subscriber.
    # It also calls `force_close`, which in aiohttp 3.14.5 closes `protocol.transport` if there is
    # one. `force_close` makes `RequestHandler.start` end after this request, too.
    protocol.transport = None
    protocol.connection_lost(None)
    return bytes(leftover.data)


class _LeftoverParser:
    """Collects the input that aiohttp has received beyond the request.

    It has the two methods of aiohttp's WebSocketReader that aiohttp 3.14.5 calls.
    """

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Collect `data`. `True` would mean that the connection is to be closed."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Do nothing; `connection_lost` calls this."""
