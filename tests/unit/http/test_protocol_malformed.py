"""Input that is malformed behind the head of a request."""

import asyncio

import pytest

from aionotify.http.protocol import HttpProtocol
from tests.support import converse
from tests.support.serving import serving

pytestmark = pytest.mark.both_loops

HEAD = b"POST /notifications HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"1\r\na\r\n" * 20_000
MALFORMED = b"1,\r\nx\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_malformed_body_is_answered_once() -> None:
    """At once, although its reader waits for more; nothing after it is a request."""
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + CHUNKS)
        await writer.drain()
        writer.write(MALFORMED + HEALTH)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.") == 1
    assert b"Connection: close" in answer
    assert b"does not match its Transfer-Encoding" in answer


async def test_error_is_queued_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often aiohttp resumes reading: each error holds its traceback."""
    longest = 0
    receive = HttpProtocol.data_received

    def watch(self: HttpProtocol, data: bytes) -> None:
        nonlocal longest
        receive(self, data)
        longest = max(longest, len(self._messages))

    monkeypatch.setattr(HttpProtocol, "data_received", watch)
    async with serving() as port:
        answer = await converse(port, HEAD + CHUNKS + MALFORMED)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert longest <= 1
