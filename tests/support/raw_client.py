"""WebSocket clients that work on bytes: cheap enough to have hundreds of them in one test."""

import asyncio
from typing import Self, cast


def handshake(path: str = "/ws") -> bytes:
    """Return a request that opens a WebSocket (RFC 6455 §4.1)."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def client_frame(message: str) -> bytes:
    """Return `message`, shorter than 64 KiB, as a client's text frame (RFC 6455 §5.2).

    The masking key is zero, which a server must accept, so that no byte needs to be computed.
    """
    payload = message.encode()
    length = len(payload)
    if length < 126:
        return bytes((0x81, 0x80 | length)) + bytes(4) + payload
    return bytes((0x81, 0x80 | 126)) + length.to_bytes(2, "big") + bytes(4) + payload


def server_frame(message: str) -> bytes:
    """Return `message`, shorter than 126 bytes, as a server's text frame."""
    payload = message.encode()
    assert len(payload) < 126
    return bytes((0x81, len(payload))) + payload


class RawClient(asyncio.Protocol):
    """A WebSocket client that keeps the bytes it receives after the handshake and parses none."""

    def __init__(self, path: str) -> None:
        self.closed = False
        self._path = path
        self._data = bytearray()
        self._start = -1

    @classmethod
    async def connect(cls, port: int, path: str = "/ws") -> Self:
        """Connect to 127.0.0.1 and send the handshake, without waiting for the answer."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(path), "127.0.0.1", port)
        return client

    @property
    def received(self) -> bytes:
        """All bytes after the answer to the handshake."""
        return bytes(self._data[self._start :]) if self._start >= 0 else b""

    @property
    def size(self) -> int:
        """The length of `received`."""
        return len(self._data) - self._start if self._start >= 0 else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(handshake(self._path))

    def data_received(self, data: bytes) -> None:
        """Keep `data`."""
        self._data += data
        if self._start < 0 and (end := self._data.find(b"\r\n\r\n")) >= 0:
            assert self._data.startswith(b"HTTP/1.1 101 "), bytes(self._data)
            self._start = end + 4

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone, whichever side ended it."""
        self.closed = True

    def send(self, message: str) -> None:
        """Send a text frame."""
        self._transport.write(client_frame(message))

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()
