"""`GET /ws`: the handshake byte for byte, and what the frames of layer 1 mean."""

import asyncio
import base64
import contextlib
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from aionotify.app import create_app
from tests.support import alone, eventually, exchange

Serve = Callable[[web.Application], Awaitable[TestServer]]

REFUSAL = "You are not authorized to send notifications."
EMPTY = "Empty notifications are not sent."

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


@pytest.fixture
async def port(aiohttp_server: Serve) -> int:
    """Where a server without memcached listens."""
    return await serve(aiohttp_server)


async def serve(aiohttp_server: Serve, **values: int) -> int:
    """Start one with these settings; the port."""
    port = (await aiohttp_server(create_app(alone(**values)))).port
    assert port is not None
    return port


@asynccontextmanager
async def client(port: int, query: str = "") -> AsyncIterator[ClientConnection]:
    """A strict client, that asks for no compression so that frames are as they are sent."""
    async with connect(
        f"ws://127.0.0.1:{port}/ws{query}", compression=None, max_size=None
    ) as connection:
        yield connection


async def received(*connections: ClientConnection) -> list[str | bytes]:
    """The next frame of each."""
    async with asyncio.timeout(5):
        return [await each.recv() for each in connections]


async def code(connection: ClientConnection) -> int | None:
    """The status with which the server closes."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
    return connection.close_code


# --------------------------------------------------------------------------- who may send what


async def test_what_an_admin_sends_everybody_gets_and_the_sender_too(port: int) -> None:
    async with client(port, "?client=admin") as admin, client(port) as one, client(port) as two:
        await admin.send("Hello")
        assert await received(admin, one, two) == ["[Notification] Hello"] * 3


async def test_a_user_sends_with_the_prefix(port: int) -> None:
    async with client(port) as user, client(port) as other:
        await user.send("admin:Hello")
        assert await received(user, other) == ["[Notification] Hello"] * 2


@pytest.mark.parametrize(
    "text", ["Hello", " admin:Hello", "Admin:Hello", "ADMIN:Hello", "admin", "admin :x", "", " "]
)
async def test_what_else_a_user_sends_is_refused_to_that_user_alone(port: int, text: str) -> None:
    async with client(port) as user, client(port) as other:
        await user.send(text)
        assert await received(user) == [REFUSAL]
        await user.send("admin:afterwards")
        assert await received(user, other) == ["[Notification] afterwards"] * 2


@pytest.mark.parametrize(
    "query",
    ["?client=admin", "?client=user&client=admin", "?x=1&client=admin", "?client=%61dmin"],
)
async def test_these_are_admins(port: int, query: str) -> None:
    async with client(port, query) as admin:
        await admin.send("Hello")
        assert await received(admin) == ["[Notification] Hello"]


@pytest.mark.parametrize(
    "query",
    [
        *("", "?", "?client", "?client=", "?client=user", "?client=ADMIN", "?client=Admin"),
        *("?client=%20admin", "?client=admin%20", "?client=admin&client=user", "?Client=admin"),
        *("?client=admin,user", "?admin", "?client=administrator"),
    ],
)
async def test_these_are_users(port: int, query: str) -> None:
    async with client(port, query) as user:
        await user.send("Hello")
        assert await received(user) == [REFUSAL]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hello", "Hello"),
        ("  Hello \t\r\n", "Hello"),
        ("admin:Hello", "Hello"),
        ("admin: Hello ", "Hello"),
        ("admin:admin:Hello", "admin:Hello"),
        ("about admin:s", "about admin:s"),
        (" admin:Hello", "admin:Hello"),
        ("Admin:Hello", "Admin:Hello"),
        ("one\n\ntwo\r\nthree", "one\n\ntwo\r\nthree"),
        ("\u00a0\u3000é 日本 😀 \u202bعربى\u2028", "é 日本 😀 \u202bعربى"),
        ("a\u0000b", "a\u0000b"),
        ("[Notification] x", "[Notification] x"),
    ],
)
async def test_one_prefix_goes_then_white_space_at_both_ends(
    port: int, text: str, message: str
) -> None:
    async with client(port, "?client=admin") as admin, client(port) as user:
        await admin.send(text)
        assert await received(admin, user) == [f"[Notification] {message}"] * 2
    async with client(port) as late:
        assert await received(late) == [f"[Recent] {message}"]


@pytest.mark.parametrize("text", ["", "  ", "\n", "admin:", "admin: \t\u3000"])
async def test_nothing_to_send_is_said_to_the_sender_alone(port: int, text: str) -> None:
    async with client(port, "?client=admin") as admin, client(port) as user:
        await admin.send(text)
        assert await received(admin) == [EMPTY]
        await user.send("admin: ")
        assert await received(user) == [EMPTY]
        await admin.send("Hello")
        assert await received(admin, user) == ["[Notification] Hello"] * 2
    async with client(port) as late:
        assert await received(late) == ["[Recent] Hello"]


async def test_a_late_joiner_is_shown_the_last_five_oldest_first_and_then_what_comes(
    port: int,
) -> None:
    async with client(port, "?client=admin") as admin:
        for number in range(8):
            await admin.send(f"{number}")
            await received(admin)
        async with client(port) as late:
            shown = [(await received(late))[0] for _ in range(5)]
            assert shown == [f"[Recent] {number}" for number in range(3, 8)]
            await admin.send("live")
            assert await received(late, admin) == ["[Notification] live"] * 2
        async with client(port, "?client=admin") as late:
            shown = [(await received(late))[0] for _ in range(5)]
            assert shown == [*(f"[Recent] {number}" for number in range(4, 8)), "[Recent] live"]


async def test_many_messages_in_one_go_keep_their_order(port: int) -> None:
    texts = [f"{number}" for number in range(300)]
    async with client(port, "?client=admin") as admin, client(port) as user:
        for text in texts:
            await admin.send(text)
        for connection in (admin, user):
            got = [(await received(connection))[0] for _ in texts]
            assert got == [f"[Notification] {text}" for text in texts]


async def test_an_answer_does_not_overtake_what_was_published_before(port: int) -> None:
    """Neither the sender's own, nor another's, when all of it arrives in one go."""
    frames = [b"admin:a", b"no", b"admin:b", b"admin:", b"no", b"admin:c"]
    masked = [bytes((0x81, 0x80 | len(each))) + bytes(4) + each for each in frames]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (b"GET /ws HTTP/1.1", b"Connection: Upgrade", *HANDSHAKE, b"Host: localhost", b"", b"")
    writer.write(b"\r\n".join(lines) + b"".join(masked))
    shown = [
        *("[Notification] a", REFUSAL, "[Notification] b", EMPTY, REFUSAL, "[Notification] c"),
    ]
    wanted = SWITCHING + b"".join(bytes((0x81, len(each))) + each.encode() for each in shown)
    async with asyncio.timeout(5):
        assert await reader.readexactly(len(wanted)) == wanted
    writer.close()


TEXTS = st.builds(
    str.__add__,
    st.sampled_from(["", "", "admin:", "admin:", "admin:", "Admin:", " admin:"]),
    st.text(st.characters(codec="utf-8"), max_size=30) | st.text(" \n\u3000", max_size=2),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_any_text_of_a_user_is_answered_by_the_rules(texts: list[str]) -> None:
    """One answer for each, in order: refused, empty, or published."""

    async def converse() -> list[str | bytes]:
        async with TestServer(create_app(alone())) as server, client(server.port or 0) as user:
            for text in texts:
                await user.send(text)
            return [(await received(user))[0] for _ in texts]

    def expected(text: str) -> str:
        if text[:6] != "admin:":
            return REFUSAL
        message = text[6:].strip()
        return f"[Notification] {message}" if message else EMPTY

    assert asyncio.run(converse()) == [expected(text) for text in texts]


# ---------------------------------------------------------------------------- frames and ends


@pytest.mark.parametrize("length", [0, 1, 111, 112, 125, 126, 65521, 65522, 65535, 65536])
async def test_every_length_of_frame_in_both_directions(port: int, length: int) -> None:
    """With `[Notification] ` before it, 111 and 65521 are where the header grows on the way out."""
    text = "x" * length
    async with client(port, "?client=admin") as admin, client(port) as user:
        await admin.send(text)
        wanted = f"[Notification] {text}" if text else EMPTY
        assert await received(admin) == [wanted]
        if text:
            assert await received(user) == [wanted]


async def test_a_message_in_fragments(port: int) -> None:
    async with client(port) as user:
        await user.send(["ad", "min:", "", "Hel", "lo"])
        assert await received(user) == ["[Notification] Hello"]


async def test_a_binary_frame_is_closed_with_1003(port: int) -> None:
    async with client(port, "?client=admin") as admin, client(port) as user:
        await admin.send(b"Hello")
        assert await code(admin) == 1003
        await user.send("admin:others go on")
        assert await received(user) == ["[Notification] others go on"]


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        *(("x" * 16, True), ("é" * 8, True), ("admin:" + "x" * 16, True), ("  " + "x" * 16, True)),
        *(("x" * 17, False), ("é" * 8 + "x", False), ("admin:" + "x" * 17, False)),
        ("x" * 999, False),
    ],
)
async def test_a_message_that_is_too_big_is_closed_with_1009(
    aiohttp_server: Serve, text: str, accepted: bool
) -> None:
    port = await serve(aiohttp_server, max_message_bytes=16)
    async with client(port, "?client=admin") as admin:
        await admin.send(text)
        if accepted:
            message = text.removeprefix("admin:").strip()
            assert await received(admin) == [f"[Notification] {message}"]
        else:
            assert await code(admin) == 1009


async def test_text_that_is_no_utf_8_is_closed_with_1007(port: int) -> None:
    async with client(port) as user:
        await user.send(b"\xff", text=True)
        assert await code(user) == 1007


async def test_a_close_is_answered_with_the_same_code(port: int) -> None:
    async with client(port) as user:
        await user.close(4321, "enough")
        assert user.close_code == 4321


async def test_a_ping_is_answered_with_its_payload(port: int) -> None:
    async with client(port) as user, asyncio.timeout(5):
        await (await user.ping(b"payload"))


async def test_who_vanishes_hurts_nobody(port: int) -> None:
    async with client(port, "?client=admin") as admin, client(port) as user:
        for _ in range(5):
            gone = await connect(f"ws://127.0.0.1:{port}/ws")
            gone.transport.abort()
            await admin.send("Hello")
            assert await received(admin, user) == ["[Notification] Hello"] * 2


async def test_everybody_is_closed_with_1012_when_the_server_ends(aiohttp_server: Serve) -> None:
    server = await aiohttp_server(create_app(alone()))
    assert server.port is not None
    async with client(server.port, "?client=admin") as admin, client(server.port) as user:
        await server.close()
        assert [await code(admin), await code(user)] == [1012, 1012]


# --------------------------------------------------------------------------------- handshake


async def answered(port: int, *lines: bytes, behind: bytes = b"") -> bytes:
    """The first bytes that come back to a handshake of these lines and what stands behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\r\n".join((*lines, b"Host: localhost", b"", b"")) + behind)
    try:
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            return head + (await reader.read(1000) if behind else b"")
    finally:
        writer.close()


async def test_the_answer_to_the_handshake(port: int) -> None:
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
async def test_handshakes_that_are_good_too(port: int, lines: list[bytes]) -> None:
    assert await answered(port, b"GET /ws?client=admin HTTP/1.1", *lines) == SWITCHING


async def test_frames_right_behind_the_handshake_are_not_lost(port: int) -> None:
    payload = b"admin:Hello"
    frame = bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload
    lines = (b"GET /ws HTTP/1.1", b"Connection: Upgrade", *HANDSHAKE)
    wanted = SWITCHING + b"\x81\x14[Notification] Hello"
    assert await answered(port, *lines, behind=frame) == wanted


@given(st.binary(min_size=16, max_size=16))
@settings(max_examples=10, deadline=None)
def test_any_key_of_16_bytes_is_accepted(key: bytes) -> None:
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
async def test_without_an_upgrade(port: int, lines: list[bytes]) -> None:
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
async def test_another_version_of_the_protocol(port: int, version: bytes | None) -> None:
    lines = [HANDSHAKE[0], HANDSHAKE[2], b"Connection: Upgrade"]
    if version is not None:
        lines.append(b"Sec-WebSocket-Version: " + version)
    answer = await exchange(port, b"GET /ws HTTP/1.1", *lines)
    assert answer.status == b"HTTP/1.1 426 Upgrade Required"
    assert {b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"} <= set(answer.headers)
    assert answer.body == b'{"detail":"Only version 13 of the WebSocket protocol is spoken here."}'


@pytest.mark.parametrize(
    "key",
    [
        *(None, b"", b"short", b"dGhlIHNhbXBsZSBub25jZQ", b"dGhlIHNhbXBsZSBub25j"),
        *(b"dGhlIHNhbXBsZSBub25jZQ==x", b"dGhlIHNhbXBsZSBub25jZTE=", b"!GhlIHNhbXBsZSBub25jZQ=="),
        b"\xc3\xa9hlIHNhbXBsZSBub25jZQ==",
    ],
)
async def test_a_broken_handshake(port: int, key: bytes | None) -> None:
    lines = [*HANDSHAKE[:2], b"Connection: Upgrade"]
    if key is not None:
        lines.append(b"Sec-WebSocket-Key: " + key)
    answer = await exchange(port, b"GET /ws HTTP/1.1", *lines)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert b"Content-Type: application/json" in answer.headers
    assert answer.body == b'{"detail":"Sec-WebSocket-Key must be 16 bytes in base64."}'


async def test_head_is_told_that_an_upgrade_is_required(port: int) -> None:
    answer = await exchange(port, b"HEAD /ws HTTP/1.1")
    assert answer.status == b"HTTP/1.1 426 Upgrade Required"
    assert answer.body == b""


async def test_past_the_limit_of_connections_others_are_asked_to_wait(
    aiohttp_server: Serve,
) -> None:
    port = await serve(aiohttp_server, max_connections=2)
    handshake = (b"GET /ws HTTP/1.1", *HANDSHAKE, b"Connection: Upgrade")
    async with client(port), client(port, "?client=admin") as admin:
        answer = await exchange(port, *handshake)
        assert answer.status == b"HTTP/1.1 503 Service Unavailable"
        assert b"Retry-After: 5" in answer.headers
        assert b"Content-Type: application/json" in answer.headers
        assert answer.body == (
            b'{"detail":"Too many clients are connected. Please try again later."}'
        )
        health = await exchange(port, b"GET /health HTTP/1.1")
        assert health.status == b"HTTP/1.1 200 OK"
        assert health.body.endswith(b'"connected_websockets":2}')
        await admin.send("those who are in go on")
        assert await received(admin) == ["[Notification] those who are in go on"]

    async def free() -> bool:
        return b'"connected_websockets":0' in (await exchange(port, b"GET /health HTTP/1.1")).body

    await eventually(free)
    assert await answered(port, *handshake) == SWITCHING


async def test_a_refused_handshake_leaves_a_connection_that_can_be_used(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    broken = [
        b"GET /ws HTTP/1.1",
        b"Host: localhost",
        b"Connection: Upgrade",
        HANDSHAKE[0],
        b"",
        b"",
    ]
    writer.write(b"\r\n".join(broken))
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 426 ")
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 OK")
    writer.close()


async def test_who_is_reset_in_mid_handshake_leaves_nothing_behind(port: int) -> None:
    """Closed with a reset, and with the request unread: the server finds nobody to answer."""
    lines = (b"GET /ws HTTP/1.1", b"Connection: Upgrade", *HANDSHAKE, b"Host: localhost", b"", b"")
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(*_LINGER)
        writer.write(b"\r\n".join(lines))
        writer.transport.abort()

    async def none() -> bool:
        return b'"connected_websockets":0' in (await exchange(port, b"GET /health HTTP/1.1")).body

    await eventually(none)


_LINGER = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
"""Closing resets the connection."""
