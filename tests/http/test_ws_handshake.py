"""`GET /ws`: the opening handshake, byte for byte."""

import asyncio
import base64
import hashlib
import socket
import struct

import pytest
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from aionotify.app import create_app
from tests.support import alone, eventually, exchange
from tests.support.app import Serve

pytestmark = pytest.mark.both_loops

HANDSHAKE = (
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
"""The example of RFC 6455 §1.3, without `Connection`."""

SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

RESET_ON_CLOSE = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
"""The socket option with which closing resets the connection."""


async def answered(port: int, *lines: bytes, behind: bytes = b"") -> bytes:
    """Send a handshake of these lines and the bytes `behind` it; return the first response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\r\n".join((*lines, b"Host: localhost", b"", b"")) + behind)
    try:
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            return head + (await reader.read(1000) if behind else b"")
    finally:
        writer.close()


async def test_handshake_response_is_exact(port: int) -> None:
    lines = (b"GET /ws HTTP/1.1", b"Connection: Upgrade", *HANDSHAKE)
    assert await answered(port, *lines) == SWITCHING


@pytest.mark.parametrize(
    "lines",
    [
        [b"Connection: keep-alive, Upgrade", *HANDSHAKE],
        [b"Connection: keep-alive", b"Connection: Upgrade", *HANDSHAKE],
        [b"connection: UPGRADE", b"upgrade: WebSocket", *HANDSHAKE[1:]],
        [b"Connection: Upgrade", *HANDSHAKE, b"Sec-WebSocket-Protocol: chat"],
        [b"Connection: Upgrade", *HANDSHAKE, b"Sec-WebSocket-Extensions: permessage-deflate"],
        [b"Connection: Upgrade", *HANDSHAKE, b"Origin: http://localhost:8000"],
    ],
    ids=repr,
)
async def test_valid_handshake_variants(port: int, lines: list[bytes]) -> None:
    assert await answered(port, b"GET /ws?client=admin HTTP/1.1", *lines) == SWITCHING


async def test_frames_right_behind_handshake_are_read(port: int) -> None:
    payload = b"admin:Hello"
    frame = bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload
    lines = (b"GET /ws HTTP/1.1", b"Connection: Upgrade", *HANDSHAKE)
    wanted = SWITCHING + b"\x81\x14[Notification] Hello"
    assert await answered(port, *lines, behind=frame) == wanted


async def test_reply_keeps_publish_order(port: int) -> None:
    """A reply comes after earlier notifications, even if all input arrives at once."""
    frames = [b"admin:a", b"no", b"admin:b", b"admin:", b"no", b"admin:c"]
    masked = [bytes((0x81, 0x80 | len(each))) + bytes(4) + each for each in frames]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (b"GET /ws HTTP/1.1", b"Connection: Upgrade", *HANDSHAKE, b"Host: localhost", b"", b"")
    writer.write(b"\r\n".join(lines) + b"".join(masked))
    refusal = "You are not authorized to send notifications."
    empty = "Empty notifications are not sent."
    shown = ["[Notification] a", refusal, "[Notification] b", empty, refusal, "[Notification] c"]
    wanted = SWITCHING + b"".join(bytes((0x81, len(each))) + each.encode() for each in shown)
    async with asyncio.timeout(5):
        assert await reader.readexactly(len(wanted)) == wanted
    writer.close()


@given(st.binary(min_size=16, max_size=16))
@settings(max_examples=10, deadline=None)
def test_every_key_is_accepted(key: bytes) -> None:
    async def shake() -> bytes:
        async with TestServer(create_app(alone())) as server:
            line = b"Sec-WebSocket-Key: " + base64.b64encode(key)
            lines = (b"GET /ws HTTP/1.1", b"Connection: Upgrade", *HANDSHAKE[:2], line)
            return await answered(server.port or 0, *lines)

    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(base64.b64encode(key) + guid).digest())
    assert b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" in asyncio.run(shake())


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"Upgrade: h2c"],
        [b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
        [*HANDSHAKE],  # with Connection: close
    ],
    ids=repr,
)
async def test_missing_upgrade_is_426(port: int, lines: list[bytes]) -> None:
    answer = await exchange(port, b"GET /ws HTTP/1.1", *lines)
    assert answer == (
        b"HTTP/1.1 426 Upgrade Required",
        (
            b"Upgrade: websocket",
            b"Content-Type: application/json",
            b"Content-Length: 29",
            b"Connection: close",
        ),
        b'{"detail":"Upgrade Required"}',
    )


@pytest.mark.parametrize("version", [b"12", b"8", b"", b"13, 8", b"x", None])
async def test_other_version_is_426(port: int, version: bytes | None) -> None:
    lines = [HANDSHAKE[0], HANDSHAKE[2], b"Connection: Upgrade"]
    if version is not None:
        lines.append(b"Sec-WebSocket-Version: " + version)
    answer = await exchange(port, b"GET /ws HTTP/1.1", *lines)
    assert answer.status == b"HTTP/1.1 426 Upgrade Required"
    assert {b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"} <= set(answer.headers)
    assert answer.body == b'{"detail":"Only WebSocket protocol version 13 is supported."}'


@pytest.mark.parametrize(
    "key",
    [
        *(None, b"", b"short", b"dGhlIHNhbXBsZSBub25jZQ", b"dGhlIHNhbXBsZSBub25j"),
        *(b"dGhlIHNhbXBsZSBub25jZQ==x", b"dGhlIHNhbXBsZSBub25jZTE=", b"!GhlIHNhbXBsZSBub25jZQ=="),
        b"\xc3\xa9hlIHNhbXBsZSBub25jZQ==",
    ],
)
async def test_invalid_key_is_400(port: int, key: bytes | None) -> None:
    lines = [*HANDSHAKE[:2], b"Connection: Upgrade"]
    if key is not None:
        lines.append(b"Sec-WebSocket-Key: " + key)
    answer = await exchange(port, b"GET /ws HTTP/1.1", *lines)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert b"Content-Type: application/json" in answer.headers
    assert answer.body == b'{"detail":"Sec-WebSocket-Key must be 16 bytes in base64."}'


async def test_head_is_426(port: int) -> None:
    answer = await exchange(port, b"HEAD /ws HTTP/1.1")
    assert answer.status == b"HTTP/1.1 426 Upgrade Required"
    assert answer.body == b""


async def test_handshake_with_head_is_405(port: int) -> None:
    answer = await exchange(port, b"HEAD /ws HTTP/1.1", *HANDSHAKE, b"Connection: Upgrade")
    assert answer.status == b"HTTP/1.1 405 Method Not Allowed"
    assert b"Allow: GET" in answer.headers


async def test_connection_limit_is_503(
    serve: Serve,
) -> None:
    running = await serve(max_connections=2)
    handshake = (b"GET /ws HTTP/1.1", *HANDSHAKE, b"Connection: Upgrade")
    async with running.client(), running.client("?client=admin") as admin:
        answer = await exchange(running.port, *handshake)
        assert answer.status == b"HTTP/1.1 503 Service Unavailable"
        assert b"Retry-After: 5" in answer.headers
        assert b"Content-Type: application/json" in answer.headers
        assert answer.body == (
            b'{"detail":"Too many clients are connected. Please try again later."}'
        )
        health = await exchange(running.port, b"GET /health HTTP/1.1")
        assert health.status == b"HTTP/1.1 200 OK"
        assert health.body.endswith(b'"connected_websockets":2}')
        await admin.send("others go on")
        assert await asyncio.wait_for(admin.recv(), 5) == "[Notification] others go on"

    async def free() -> bool:
        return (
            b'"connected_websockets":0'
            in (await exchange(running.port, b"GET /health HTTP/1.1")).body
        )

    await eventually(free)
    assert await answered(running.port, *handshake) == SWITCHING


async def test_refused_handshake_keeps_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (b"GET /ws HTTP/1.1", b"Host: localhost", b"Connection: Upgrade", HANDSHAKE[0])
    writer.write(b"\r\n".join((*lines, b"", b"")))
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 426 ")
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 OK")
    writer.close()


async def test_reset_during_handshake_leaves_nothing(port: int) -> None:
    """The client resets the connection before the server has read the request."""
    lines = (b"GET /ws HTTP/1.1", b"Connection: Upgrade", *HANDSHAKE, b"Host: localhost", b"", b"")
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(*RESET_ON_CLOSE)
        writer.write(b"\r\n".join(lines))
        writer.transport.abort()

    async def none() -> bool:
        return b'"connected_websockets":0' in (await exchange(port, b"GET /health HTTP/1.1")).body

    await eventually(none)
