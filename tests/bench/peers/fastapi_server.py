"""The interface in its usual form: FastAPI on uvicorn[standard] and a list of WebSockets."""

import sys
from collections import deque

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
connected: list[WebSocket] = []
recents: deque[str] = deque(maxlen=5)


@app.get("/health", response_model=None)  # without pydantic, which would be slower
async def health() -> dict[str, str | int]:
    """Return the four keys of our server."""
    return {
        "status": "healthy",
        "cache_status": "fallback",
        "recent_notifications_count": len(recents),
        "connected_websockets": len(connected),
    }


@app.websocket("/ws")
async def subscribe(ws: WebSocket, client: str = "user") -> None:
    """Send the recent messages, then everything that an admin sends."""
    await ws.accept()
    connected.append(ws)
    try:
        for message in recents:
            await ws.send_text(f"[Recent] {message}")
        while True:
            text = await ws.receive_text()
            if client == "admin" or text.startswith("admin:"):
                await publish(text.removeprefix("admin:").strip())
            else:
                await ws.send_text("You are not authorized to send notifications.")
    except WebSocketDisconnect:
        connected.remove(ws)


async def publish(message: str) -> None:
    """Send `message` to one client after another."""
    recents.append(message)
    for ws in connected:
        await ws.send_text(f"[Notification] {message}")


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="error",
        access_log=False,
        ws_ping_interval=None,
    )
