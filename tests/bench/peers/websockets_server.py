"""websockets on uvloop, with its `broadcast()`."""

import asyncio
import sys
from collections import deque

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

connected: dict[ServerConnection, None] = {}
recents: deque[str] = deque(maxlen=5)


async def subscribe(ws: ServerConnection) -> None:
    """Send the recent messages, then everything that a client sends."""
    connected[ws] = None
    try:
        for recent in recents:
            await ws.send(f"[Recent] {recent}")
        async for message in ws:
            assert isinstance(message, str)
            recents.append(message)
            broadcast(connected, f"[Notification] {message}")
    finally:
        del connected[ws]


async def main() -> None:
    """Serve until killed."""
    port = int(sys.argv[1])
    async with serve(
        subscribe, "127.0.0.1", port, compression=None, ping_interval=None, backlog=2048
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
