"""The response heads of subscribers, byte for byte."""

import re

from aionotify.http.heads import RETRY, Head, event_stream, switching_protocols

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The example of RFC 6455 §1.3."""

SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
)


def test_handshake_is_completed() -> None:
    assert switching_protocols(KEY, with_subprotocol=False) == Head(101, SWITCHING + b"\r\n")


def test_subprotocol_is_selected() -> None:
    wanted = SWITCHING + b"Sec-WebSocket-Protocol: aionotify\r\n\r\n"
    assert switching_protocols(KEY, with_subprotocol=True) == Head(101, wanted)


STREAM = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Cache-Control: no-store, no-transform\r\n"
    b"Content-Encoding: identity\r\n"
    b"X-Accel-Buffering: no\r\n"
    b"Connection: close\r\n"
)


def test_event_stream_starts_with_retry() -> None:
    """The line is the first one of the first event: no blank line follows it."""
    head = event_stream({}, chunked=False)
    found = re.fullmatch(re.escape(STREAM) + rb"\r\nretry: (\d+)\n", head.data)
    assert found
    assert int(found[1]) in RETRY
    assert head.status == 200


def test_event_stream_is_chunked() -> None:
    head = event_stream({}, chunked=True)
    wanted = STREAM + b"Transfer-Encoding: chunked\r\n\r\nc\r\nretry: "
    assert re.fullmatch(re.escape(wanted) + rb"\d{4}\n\r\n", head.data)


def test_retry_differs_between_clients() -> None:
    """Clients that a restart disconnects do not come back in the same moment."""
    heads = {event_stream({}, chunked=True).data for _ in range(100)}
    assert len(heads) > 10


def test_event_stream_has_more_headers() -> None:
    head = event_stream({"Vary": "Origin"}, chunked=False)
    assert b"Connection: close\r\nVary: Origin\r\n\r\nretry: " in head.data
