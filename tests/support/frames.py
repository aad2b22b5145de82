"""WebSocket bytes as a client sends them, built by hand so that they do not depend on our code."""

HANDSHAKE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
"""The header lines of an opening handshake, with the key of the example in RFC 6455 §1.3."""

MASK = b"\x01\x02\x03\x04"


def masked(first: int, payload: bytes, mask: bytes = MASK) -> bytes:
    """Return a masked frame (RFC 6455 §5.2); `first` is its first byte: FIN and opcode."""
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 65536:
        head = bytes((first, 0xFE)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + length.to_bytes(8, "big")
    return head + mask + bytes(each ^ mask[at % 4] for at, each in enumerate(payload))
