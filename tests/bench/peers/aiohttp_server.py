"""aiohttp on uvloop, in the style of its documentation: `await ws.send_str()` in a loop."""

import sys
from collections import deque

import uvloop
from aiohttp import web

connected: dict[web.WebSocketResponse, None] = {}
recents: deque[str] = deque(maxlen=5)


async def health(request: web.Request) -> web.Response:
    """Return the four keys of our server."""
    return web.json_response(
        {
            "status": "healthy",
            "cache_status": "fallback",
            "recent_notifications_count": len(recents),
            "connected_websockets": len(connected),
        }
    )


async def subscribe(request: web.Request) -> web.WebSocketResponse:
    """Send the recent messages, then everything that a client sends."""
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    connected[ws] = None
    try:
        for message in recents:
            await ws.send_str(f"[Recent] {message}")
        async for frame in ws:
            await publish(frame.data)
    finally:
        del connected[ws]
    return ws


async def publish(message: str) -> None:
    """Send `message` to one client after another."""
    recents.append(message)
    for ws in connected:
        await ws.send_str(f"[Notification] {message}")


def main() -> None:
    """Serve until killed."""
    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/ws", subscribe)])
    loop = uvloop.new_event_loop()
    web.run_app(
        app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=loop
    )


if __name__ == "__main__":
    main()
