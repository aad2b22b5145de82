"""Clients that the server closes: the log has the true reason, and the metrics have the code."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify.app import create_app
from aionotify.keys import HUB
from tests.support import alone, eventually
from tests.support.frames import masked
from tests.support.raw_client import handshake

Serve = Callable[[web.Application], Awaitable[TestServer]]

CLOSED = {
    "binary": (masked(0x82, b"x"), 1003, "binary frames are not supported, send text (1003)"),
    "not UTF-8": (masked(0x81, b"\xff"), 1007, "text is not UTF-8: "),
    "too big": (masked(0x81, b"x" * 200), 1009, "message too big (limit "),
    "not masked": (b"\x81\x01x", 1002, "a frame from a client must be masked (1002)"),
}
"""Frames that end a connection, with the code and the start of the reason."""


@pytest.mark.parametrize("case", CLOSED)
async def test_log_has_reason_of_close(
    case: str, aiohttp_server: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Not that the client took long to answer, as it was when only the end was logged."""
    caplog.set_level(logging.INFO, "aionotify")
    frame, code, reason = CLOSED[case]
    app = create_app(alone(max_message_bytes=100))
    port = (await aiohttp_server(app)).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    host, own_port = writer.get_extra_info("sockname")
    writer.write(handshake())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(frame)
    await eventually(lambda: "disconnected client" in caplog.text)
    writer.close()
    (line,) = (text for text in caplog.messages if text.startswith("disconnected client"))
    assert line.startswith(f"disconnected client {host}:{own_port}: {reason}")
    assert line.endswith(f"({code})")
    assert app[HUB].stats.closed == {code: 1}


async def test_many_disconnects_are_few_lines(
    aiohttp_server: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """One client that comes again and again cannot fill the log."""
    caplog.set_level(logging.INFO, "aionotify")
    app = create_app(alone())
    port = (await aiohttp_server(app)).port
    for _ in range(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake() + b"\x81\x01x")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
    await eventually(lambda: app[HUB].stats.closed[1002] == 30)
    assert caplog.text.count("disconnected client") == 10
    app[HUB].stats.incidents.close()
    assert "20 more in 0 s, the last: disconnected client 127.0.0.1:" in caplog.text


async def test_client_that_closes_is_not_logged(
    aiohttp_server: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aionotify")
    app = create_app(alone())
    port = (await aiohttp_server(app)).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(handshake() + masked(0x88, b"\x03\xe8"))
    assert (await reader.read()).endswith(b"\x88\x02\x03\xe8")
    writer.close()
    assert "disconnected client" not in caplog.text
    assert not app[HUB].stats.closed
