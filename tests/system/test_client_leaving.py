"""Nothing is left behind when a program stops listening: no task, no socket, no client."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from aionotify.client import Refused, listen, publish
from aionotify.client.connection import CLOSE_TIMEOUT
from tests.support import eventually, free_port, running_server
from tests.support.client import connected_clients
from tests.support.environment import without_memcached
from tests.support.listener import Listener
from tests.support.peer import notification_frame, running_peer
from tests.support.wire import wire


def sockets() -> set[str]:
    """Return the sockets of this process (Linux)."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists the folder
            found.add(os.readlink(each))
    return {each for each in found if each.startswith("socket:")}


@asynccontextmanager
async def nothing_left(seconds: float = 2) -> AsyncIterator[None]:
    """AssertionError if a task or a socket that was made in the block is there afterwards."""
    tasks, open_sockets = asyncio.all_tasks(), sockets()
    yield
    await eventually(lambda: asyncio.all_tasks() <= tasks, seconds, "its tasks have ended")
    await eventually(lambda: sockets() <= open_sockets, seconds, "its sockets are closed")


async def breaks(url: str) -> None:
    """Leave the loop."""
    async with aclosing(listen(url)) as events:
        async for _ in events:
            break


async def drops_the_generator(url: str) -> None:
    """Leave the loop without `aclosing`."""
    async for _ in listen(url):
        break


async def fails(url: str) -> None:
    """Leave the loop with an error."""
    with suppress(ZeroDivisionError):
        async with aclosing(listen(url)) as events:
            async for _ in events:
                raise ZeroDivisionError


async def is_cancelled_at_work(url: str) -> None:
    """Be cancelled while it is busy with a notification."""
    busy = asyncio.Event()

    async def work() -> None:
        async with aclosing(listen(url)) as events:
            async for _ in events:
                busy.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await busy.wait()
    await cancelled(task)


async def is_cancelled_in_wait(url: str) -> None:
    """Be cancelled while it waits for the next notification."""
    listener = Listener()
    task = asyncio.create_task(listener.run(url))
    await listener.receives("Hello")
    await cancelled(task)


async def is_refused(url: str) -> None:
    """Subscribe to something that is no topic."""
    with pytest.raises(Refused):
        await anext(listen(url, topics="a b"))


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait for its end."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, CLOSE_TIMEOUT)


Leave = Callable[[str], Awaitable[None]]

WAYS: list[Leave] = [
    breaks,
    drops_the_generator,
    fails,
    is_cancelled_at_work,
    is_cancelled_in_wait,
    is_refused,
]


async def test_nothing_is_left_behind() -> None:
    async with running_server(without_memcached()) as server:
        await publish(server.url, "Hello")
        for leave in WAYS:
            async with nothing_left():
                await leave(server.url)
            assert await connected_clients(server.url) == 0, leave


async def test_cancelled_attempt_leaves_nothing() -> None:
    """Against a server that does not answer, and while it waits for the next attempt."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()
        writer.close()

    arrived = asyncio.Event()
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with nothing_left():
            task = asyncio.create_task(Listener().run(f"http://127.0.0.1:{port}"))
            await arrived.wait()
            await cancelled(task)
    listener = Listener()
    async with nothing_left():
        task = asyncio.create_task(listener.run(f"http://127.0.0.1:{free_port()}"))
        await listener.is_told("Cannot connect")
        await cancelled(task)


async def test_silent_link_is_left_in_time() -> None:
    """The close frame is not answered."""
    async with running_server(without_memcached()) as server, wire(server.port) as link:
        await publish(server.url, "Hello")
        async with nothing_left(), aclosing(listen(f"http://127.0.0.1:{link.port}")) as events:
            await anext(events)
            link.silence_subscribers()
            async with asyncio.timeout(CLOSE_TIMEOUT * 3):
                await events.aclose()
            link.cut()


async def test_flood_is_left_in_time() -> None:
    """The server goes on sending instead of answering the close frame."""
    frame = notification_frame("Hello")

    async def floods(ws: web.WebSocketResponse) -> None:
        with suppress(ConnectionError):
            while True:
                await ws.send_str(frame)
                await asyncio.sleep(0)

    async with running_peer(floods) as peer:
        events = listen(peer.url)
        for _ in range(1000):
            await anext(events)
        async with asyncio.timeout(CLOSE_TIMEOUT * 3):
            await events.aclose()


async def test_server_is_told_of_the_end() -> None:
    """With a close frame, so that it need not find out."""
    frames = []

    async def waits(ws: web.WebSocketResponse) -> None:
        await ws.send_str(notification_frame("Hello"))
        frames.append(await ws.receive())

    async with running_peer(waits) as peer:
        await breaks(peer.url)
        await eventually(lambda: bool(frames))
    assert [(each.type, each.data) for each in frames] == [(WSMsgType.CLOSE, 1000)]
