"""HTTP requests written by hand, for tests that compare bytes."""

import asyncio
from typing import NamedTuple


class Answer(NamedTuple):
    """A server's response, byte for byte."""

    status: bytes
    """The whole status line."""

    headers: tuple[bytes, ...]
    """The header lines, except those that vary: Date and Server."""

    body: bytes


async def exchange(port: int, *lines: bytes) -> Answer:
    """Send a request of these lines to 127.0.0.1, and read until the server closes.

    `Host` and `Connection: close` are added.
    """
    lines = (*lines, b"Host: 127.0.0.1:%d" % port, b"Connection: close", b"", b"")
    head, _, body = (await converse(port, b"\r\n".join(lines))).partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    kept = (each for each in headers if not each.startswith((b"Date: ", b"Server: ")))
    return Answer(status, tuple(kept), body)


async def converse(port: int, request: bytes, seconds: float = 5) -> bytes:
    """Send `request` to 127.0.0.1, and return everything received until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), seconds)
    finally:
        writer.close()
