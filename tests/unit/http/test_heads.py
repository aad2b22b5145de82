"""The response heads of subscribers, byte for byte."""

from aionotify.http.heads import Head, event_stream, switching_protocols

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


def test_event_stream_starts_with_retry() -> None:
    assert event_stream({}) == Head(
        200,
        b"HTTP/1.1 200 OK\r\n"
        b"Content-Type: text/event-stream\r\n"
        b"Cache-Control: no-store, no-transform\r\n"
        b"Content-Encoding: identity\r\n"
        b"X-Accel-Buffering: no\r\n"
        b"Connection: close\r\n\r\n"
        b"retry: 2000\n\n",
    )


def test_event_stream_has_more_headers() -> None:
    head = event_stream({"Vary": "Origin"})
    assert head.data.endswith(b"Connection: close\r\nVary: Origin\r\n\r\nretry: 2000\n\n")
