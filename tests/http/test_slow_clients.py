"""Clients that read slowly, or not at all: told apart by what their kernels acknowledge."""

import asyncio
import contextlib
import re
import socket

import pytest

from aionotify.keys import HUB
from aionotify.stats import DisconnectReason
from tests.support import eventually
from tests.support.app import RunningApp, Serve
from tests.support.raw_client import handshake

pytestmark = pytest.mark.both_loops

SLICE = 2000
"""Bytes that a slow client reads ten times a second: 20 KB/s."""

EVENTS = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def read_slowly(client: socket.socket, count: int) -> bool:
    """Read `count` slices, ten a second at most. Return whether the server has not ended it."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        for _ in range(count):
            # The pace is the subject here.
            pause = loop.create_task(asyncio.sleep(0.1))
            if not await asyncio.wait_for(loop.sock_recv(client, SLICE), 5):
                return False
            await pause
        return True
    return False


def disconnected(running: RunningApp) -> dict[DisconnectReason, int]:
    """Return how many clients were disconnected, by reason."""
    return dict(running.app[HUB].stats.disconnected)


@pytest.mark.parametrize("path", ["/events", "/ws?format=json&"])
async def test_steady_slow_reader_stays(serve: Serve, path: str) -> None:
    """20 KB/s behind a long replay is slow, and not stalled, although buffers hide the progress.

    The kernel takes megabytes at once, and none for many stall time-outs after that. A live client
    does not wait for it.
    """
    running = await serve(stall_timeout=1)
    (first,) = await running.publish("first")
    for _ in range(16):
        await running.publish(*["x" * 60_000] * 16)
    query = f"{path}{'' if path.endswith('&') else '?'}since={first.id}"
    request = EVENTS.format(query).encode() if path == "/events" else handshake(query)
    async with running.unread_client(request) as slow, running.client() as live:
        await read_slowly(slow, 10)
        await running.publish("Hello")
        async with asyncio.timeout(1):
            while await live.recv() != "[Notification] Hello":
                pass
        assert await read_slowly(slow, 15)
        assert running.app[HUB].lagging == 1
    assert disconnected(running) == {}


async def test_unread_stream_is_stalled(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A peer with a closed window is disconnected by the stall time-out, and never by the kernel.

    Its data fits into the kernel's buffer, so only the heartbeat can notice.
    """
    running = await serve(stall_timeout=1, heartbeat=0.2)
    async with running.unread_client(EVENTS.format("/events").encode()):
        await running.publish("x" * 60_000, "x" * 60_000)
        with caplog.at_level("INFO", "aionotify"):
            await eventually(lambda: running.app[HUB].connected == 0, 5)
        assert disconnected(running) == {DisconnectReason.STALLED: 1}
        assert caplog.messages[-1].endswith("no data accepted for 1 s")


async def test_slow_websocket_is_not_silent(serve: Serve) -> None:
    """Pings that stand behind unread data cannot be answered yet."""
    running = await serve(stall_timeout=2, heartbeat=0.2)
    async with running.unread_client(handshake()) as slow:
        await running.publish("x" * 60_000, "x" * 60_000)
        assert await read_slowly(slow, 20)
        assert disconnected(running) == {}


async def test_silent_websocket_is_disconnected(serve: Serve) -> None:
    """A client that accepts everything and answers nothing is gone after two heartbeats."""
    running = await serve(stall_timeout=5, heartbeat=0.2)
    async with running.unread_client(handshake()):
        await eventually(lambda: running.app[HUB].connected == 0, 2)
    assert disconnected(running) == {DisconnectReason.SILENT: 1}


async def test_lagging_stream_gets_exact_gap(
    serve: Serve,
) -> None:
    running = await serve(history_limit=10)
    async with running.unread_client(EVENTS.format("/events").encode()) as client:
        published = []
        for number in range(300):
            published += await running.publish(f"{number} " + "x" * 60_000)
            await asyncio.sleep(0)
        data = b""
        last = f'"message":"{299} '.encode()
        loop = asyncio.get_running_loop()
        while last not in data[-200_000:] or not data.endswith(b"\n\n\r\n"):
            data += await asyncio.wait_for(loop.sock_recv(client, 1 << 20), 5)
    position = 0
    for found in re.finditer(rb'"message":"(\d+) x|"missed":(\d+)', data):
        if found[2]:
            position += int(found[2])
        else:
            assert int(found[1]) == position
            position += 1
    assert position == 300
    assert data.count(b"event: gap") >= 1


async def test_stall_timeout_disconnects(serve: Serve) -> None:
    running = await serve(stall_timeout=1)
    async with running.unread_client(EVENTS.format("/events").encode()):
        for _ in range(200):
            await running.publish("x" * 60_000)
            await asyncio.sleep(0)
        await eventually(lambda: running.app[HUB].connected == 0, 5)
