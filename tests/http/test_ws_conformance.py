"""Cases of the Autobahn test suite in which an answer, or the moment of it, decides.

Autobahn calls a server non-strict that drops answers to earlier frames when a later one fails, or
notices text that is not UTF-8 only at the end of the message. The names are those of its cases.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from aionotify.websocket import QUIET
from tests.support.frames import masked
from tests.support.raw_client import handshake, server_frame

pytestmark = pytest.mark.both_loops

TEXT, PING = masked(0x81, b"admin:Hello"), masked(0x89, b"")
ECHO = server_frame("[Notification] Hello")

PREFIX = "κόσμε".encode()
NOT_UTF8, REST = b"\xf4\x90\x80\x80", b"edited"

FAILING_LATER = {
    "3.2 reserved bits": TEXT + masked(0xA1, b"Hello") + PING,
    "4.1.3 reserved opcode 5": TEXT + masked(0x85, b"") + PING,
    "4.1.4 reserved opcode 6": TEXT + masked(0x86, b"Hello") + PING,
    "4.2.3 reserved opcode 13": TEXT + masked(0x8D, b"") + PING,
    "4.2.4 reserved opcode 14": TEXT + masked(0x8E, b"Hello") + PING,
    "5.15 continuation of nothing": (
        masked(0x01, b"admin:") + masked(0x80, b"Hello") + masked(0x00, b"x") + TEXT
    ),
}
"""A message, a violation, and more that is not read."""

FAILING_EARLY = {
    "6.4.1 fragment": [masked(0x01, PREFIX), masked(0x00, NOT_UTF8)],
    "6.4.2 fragment, within a character": [
        masked(0x01, PREFIX + NOT_UTF8[:1]),
        masked(0x00, NOT_UTF8[1:]),
    ],
    "6.4.3 part of a frame": [
        masked(0x81, PREFIX + NOT_UTF8 + REST)[: -len(NOT_UTF8 + REST)],
        masked(0x81, PREFIX + NOT_UTF8 + REST)[-len(NOT_UTF8 + REST) : -len(REST)],
    ],
    "6.4.4 part of a frame, within a character": [
        masked(0x81, PREFIX + NOT_UTF8 + REST)[: -len(NOT_UTF8 + REST) + 1],
        masked(0x81, PREFIX + NOT_UTF8 + REST)[-len(NOT_UTF8 + REST) + 1 : -len(REST) - 2],
    ],
}
"""A message that is never complete: its valid beginning, and bytes that are not UTF-8."""


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a WebSocket whose bytes the test reads and writes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(handshake())
    try:
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\n")
            yield reader, writer
    finally:
        writer.close()


async def close_code(reader: asyncio.StreamReader) -> int:
    """Return the status of the close frame that must come next."""
    head = await reader.readexactly(2)
    assert head[0] == 0x88, head
    return int.from_bytes((await reader.readexactly(head[1]))[:2], "big")


async def exchange(port: int, pieces: Iterable[bytes]) -> tuple[bytes, int]:
    """Send `pieces` one by one. Return the bytes of the first answer and the close code."""
    async with opened(port) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        return await reader.readexactly(len(ECHO)), await close_code(reader)


@pytest.mark.parametrize("name", FAILING_LATER)
async def test_answer_precedes_failure(port: int, name: str) -> None:
    """A violation does not undo the message before it, even if both arrive at once."""
    assert await exchange(port, [FAILING_LATER[name]]) == (ECHO, 1002)


async def test_answer_precedes_failure_by_frames(port: int) -> None:
    """Autobahn 3.3: frame by frame."""
    assert await exchange(port, [TEXT, masked(0xC1, b"Hello"), PING]) == (ECHO, 1002)


async def test_answer_precedes_failure_by_bytes(port: int) -> None:
    """Autobahn 3.4: byte by byte."""
    stream = TEXT + masked(0x91, b"Hello") + PING
    assert await exchange(port, (bytes([each]) for each in stream)) == (ECHO, 1002)


@pytest.mark.parametrize("name", FAILING_EARLY)
async def test_invalid_text_fails_at_once(port: int, name: str) -> None:
    """The connection fails with 1007 at the first byte that is wrong, not after the message."""
    valid, invalid = FAILING_EARLY[name]
    async with opened(port) as (reader, writer):
        writer.write(valid + PING if valid[0] == 0x01 else valid)
        if valid[0] == 0x01:
            assert await reader.readexactly(2) == b"\x8a\x00"
        writer.write(invalid)
        assert await close_code(reader) == 1007


@pytest.mark.parametrize(
    ("ending", "answer"),
    [
        (masked(0x88, b"\x03\xe8bye"), b"\x88\x02\x03\xe8"),
        (masked(0x88, b""), b"\x88\x00"),
    ],
    ids=["1000", "empty"],
)
async def test_answer_precedes_close(port: int, ending: bytes, answer: bytes) -> None:
    """A message and a close frame in one segment: both are answered, in this order."""
    async with opened(port) as (reader, writer):
        writer.write(TEXT + masked(0x81, b"no") + ending)
        refusal = server_frame("You are not authorized to send notifications.")
        assert await reader.read() == ECHO + refusal + answer


async def test_failure_ends_behind_input(port: int) -> None:
    """The end of our side waits for a message that is far too big and still on its way.

    A proxy such as hitch ends the client's side as soon as it sees the end of ours, whether or not
    it has forwarded the close frame: the client gets 1006 in place of 1009.
    """
    whole = masked(0x81, b"x" * 300_000)
    async with opened(port) as (reader, writer):
        writer.write(whole[:16_384])
        assert await close_code(reader) == 1009
        end = asyncio.ensure_future(reader.read())
        for start in range(16_384, len(whole), 40_000):
            writer.write(whole[start : start + 40_000])
            await writer.drain()
            done, _ = await asyncio.wait([end], timeout=QUIET * 0.3)
            assert not done
        assert await end == b""
