"""Taking a connection out of aiohttp's hands once its request has been understood.

aiohttp keeps a task, a request, a parser and their buffers for as long as a WebSocket or an event
stream lasts, 9 KiB of them. A subscriber is its transport's protocol itself, and needs none.
"""

from aiohttp import web

from aionotify.notifier import Notifier
from aionotify.subscriber import Subscriber


class HijackedResponse(web.StreamResponse):
    """Tells aiohttp that there is nothing left to do: the subscriber sends the response itself."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing: the head goes out together with what follows it, as one write."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the end is the subscriber's business."""


async def subscribe(
    request: web.Request,
    notifier: Notifier,
    topic: str,
    subscriber: Subscriber,
    head: bytes,
    since: int | None = None,
) -> web.StreamResponse:
    """Answer `request` with `head`, what `subscriber` is to see first, and all that follows.

    Raises Unavailable, and ConnectionResetError where the client is gone.
    """
    subscription = await notifier.prepare(topic)
    rest = _take_over(request, subscriber)
    subscription.start(subscriber, head, since)
    if rest:
        subscriber.data_received(rest)
    return HijackedResponse(status=int(head[9:12]))  # behind "HTTP/1.1 ": for the log


def _take_over(request: web.Request, subscriber: Subscriber) -> bytes:
    """Make `subscriber` the protocol of the connection, before a byte of the response is sent.

    Returns what the client sent behind its request, for `data_received`. aiohttp forgets the
    connection. Raises ConnectionResetError where the client is gone.
    """
    transport, protocol = request.transport, request.protocol
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    rest = _LeftoverParser()
    protocol.set_parser(rest)  # type: ignore[arg-type]  # all that is asked of it is feed_data
    transport.set_protocol(subscriber)
    subscriber.connection_made(transport)
    protocol.transport = None  # else the next line closes it
    protocol.connection_lost(None)
    return bytes(rest.data)


class _LeftoverParser:
    """Stands in for a parser, to be handed what aiohttp has read beyond the request."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass
