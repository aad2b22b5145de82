"""Requests to a running server, each on a connection of its own."""

from typing import Any

import aiohttp


async def get_json(url: str) -> Any:
    """Return the JSON document at `url`. AssertionError if the status is not 200."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def cache_status(url: str) -> str:
    """Return the `cache_status` of `/health` of the server at `url`."""
    return str((await get_json(f"{url}/health"))["cache_status"])


async def connected_clients(url: str) -> int:
    """Return the number of clients that `/health` of the server at `url` reports."""
    return int((await get_json(f"{url}/health"))["connected_websockets"])


async def recent_messages(url: str) -> list[str]:
    """Return the messages that `/messages` of the server at `url` lists."""
    messages: list[str] = (await get_json(f"{url}/messages"))["recent_messages"]
    return messages


async def publish(url: str, *messages: str, topic: str = "main") -> list[int]:
    """POST `messages` one after another to the server at `url`. Return their ids."""
    ids = []
    async with aiohttp.ClientSession() as session:
        for message in messages:
            target = f"{url}/notifications?topic={topic}"
            async with session.post(target, data=message) as response:
                assert response.status == 201, await response.text()
                ids.append(int((await response.json())["id"]))
    return ids
