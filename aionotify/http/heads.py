"""The response heads of subscribers, built by hand.

A hijacked connection has no aiohttp response, and so nothing else that would write one.
"""

import base64
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

from aionotify.encoders import chunk

RETRY = range(1000, 3000)
"""Milliseconds after which an EventSource that lost its connection reconnects.

Each client gets its own: otherwise all of them would come back in the same moment.
"""

SUBPROTOCOL = "aionotify"
"""The WebSocket subprotocol of clients that offer it, with a token in another one or without."""

EVENT_STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    # Caddy's `encode` and Express's `compression` would collect events until a block of data is
    # full. Caddy up to 2.7 knows `no-transform` not yet, but leaves a response that is encoded.
    "Cache-Control": "no-store, no-transform",
    "Content-Encoding": "identity",
    # nginx buffers responses of upstreams, unless this header tells it not to.
    "X-Accel-Buffering": "no",
    # A stream ends only when the connection does.
    "Connection": "close",
}

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a response, as the bytes to send, and its status."""

    status: int
    data: bytes


def switching_protocols(key: str, *, with_subprotocol: bool) -> Head:
    """Return the head that completes a WebSocket handshake (RFC 6455 §4.2.2)."""
    digest = hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}",
    ]
    # Browsers fail the connection unless one of the offered subprotocols is selected. The other
    # one, which carries the token, must not be: responses end up in logs.
    if with_subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {SUBPROTOCOL}")
    return Head(101, _encode(lines))


def event_stream(headers: Mapping[str, str], *, chunked: bool) -> Head:
    """Return the head of an event stream, with additional `headers`, and its first line.

    Unless it is `chunked`, the body ends where the connection ends (RFC 9112 §6.3): clients of
    HTTP/1.0, as nginx is by default, know no chunks.
    """
    every = {**EVENT_STREAM_HEADERS, **headers}
    if chunked:
        every["Transfer-Encoding"] = "chunked"
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in every.items())]
    # The line belongs to the first event: a block without data would be an event to some clients.
    retry = b"retry: %d\n" % random.choice(RETRY)
    return Head(200, _encode(lines) + (chunk(retry) if chunked else retry))


def _encode(lines: list[str]) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()
