"""`aionotify.client.listen` when the handshake fails: it is retried, unless that cannot help."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aionotify.client import Refused, listen
from tests.support import eventually, free_port
from tests.support.listener import listening
from tests.support.peer import answering, notification_frame, running_peer, sends


async def silent(writer: asyncio.StreamWriter) -> None:
    """Accept the connection, and never answer."""


async def garbage(writer: asyncio.StreamWriter) -> None:
    """Answer with bytes that are not HTTP."""
    writer.write(b"\x00\xff garbage\r\n\r\n")


async def not_websocket(writer: asyncio.StreamWriter) -> None:
    """Answer as a web page."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")


async def wrong_key(writer: asyncio.StreamWriter) -> None:
    """Answer as a WebSocket server that does not know the protocol."""
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: x\r\n\r\n"
    )


async def half_a_head(writer: asyncio.StreamWriter) -> None:
    """End in the middle of the answer."""
    writer.write(b"HTTP/1.1 101 Switching Pro")
    writer.close()


async def closes_at_once(writer: asyncio.StreamWriter) -> None:
    """Close after the request."""
    writer.close()


async def stops_in_the_body(writer: asyncio.StreamWriter) -> None:
    """Refuse the request, but never finish the sentence."""
    writer.write(b'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 99\r\n\r\n{"detail":')


async def not_found(writer: asyncio.StreamWriter) -> None:
    """Answer as Traefik while the server behind it restarts."""
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]

BROKEN: dict[Answer, str] = {
    silent: "no answer within 0.3 s",
    garbage: "400, message",  # aiohttp's own status for bytes that are not HTTP
    not_websocket: "200, message='Invalid response status'",
    wrong_key: "101, message='Invalid challenge response'",
    half_a_head: "closed by the server without an answer",
    closes_at_once: "closed by the server without an answer",
    stops_in_the_body: "no answer within 0.3 s",
    not_found: "Not Found (HTTP 404)",
}


@pytest.mark.parametrize("answer", BROKEN)
async def test_broken_handshake_is_retried(answer: Answer) -> None:
    """Until a server takes the port over that works."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
            await reader.read()  # until the client has had enough
        finally:
            writer.transport.abort()

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    broken = await asyncio.start_server(accept, "127.0.0.1", port)
    async with listening(url, timeout=0.3) as listener:
        async with broken:
            await listener.is_told(BROKEN[answer])
        async with running_peer(sends(notification_frame("Hello")), port=port):
            await eventually(lambda: "Hello" in listener.messages)


async def test_forbidden_is_final() -> None:
    """As from a server, or a proxy, that does not want this client."""
    forbidden = b'HTTP/1.1 403 Forbidden\r\nContent-Length: 16\r\n\r\n{"detail":"No."}'
    async with answering(forbidden) as port:
        with pytest.raises(Refused, match=r"No\. \(HTTP 403\)"):
            await anext(listen(f"http://127.0.0.1:{port}"))
