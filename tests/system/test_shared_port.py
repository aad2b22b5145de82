"""Several nodes on one port of one machine, with a real NATS server."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.support import ServerProcess, eventually, free_port, running_server
from tests.support.nats import running_nats

CLIENTS = 40
"""Clients that connect: that all of them get the same process has a chance of 2 to 10^12."""


class Node:
    """A process on the shared port, and its own port."""

    def __init__(self, process: ServerProcess, own: int) -> None:
        self.process = process
        self.own = f"http://127.0.0.1:{own}"

    async def clients(self) -> int:
        """Return how many clients are connected to this process."""
        async with aiohttp.request("GET", f"{self.own}/metrics") as response:
            text = await response.text()
        counts = re.findall(r"^aionotify_connections{.*} (\S+)$", text, re.MULTILINE)
        assert counts
        return sum(int(float(each)) for each in counts)


@contextlib.asynccontextmanager
async def running_nodes(folder: Path) -> AsyncIterator[tuple[Node, Node]]:
    """Run two nodes on one port."""
    port = str(free_port())
    with running_nats(folder) as nats:
        async with contextlib.AsyncExitStack() as stack:
            nodes = []
            for own in (free_port(), free_port()):
                environment = {
                    "AIONOTIFY_NATS_URL": nats.url,
                    "AIONOTIFY_NATS_REPLICAS": "1",
                    "AIONOTIFY_REUSE_PORT": "on",
                    "AIONOTIFY_METRICS_PORT": str(own),
                }
                server = running_server(environment, "--port", port)
                nodes.append(Node(await stack.enter_async_context(server), own))
            yield nodes[0], nodes[1]


async def publish(url: str, message: str) -> str:
    """Publish over a connection of its own, and return the id."""
    headers = {"Connection": "close"}
    async with aiohttp.request(
        "POST", f"{url}/notifications", data=message, headers=headers
    ) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["id"])


async def test_clients_are_spread_and_get_everything(tmp_path: Path) -> None:
    async with running_nodes(tmp_path) as nodes, contextlib.AsyncExitStack() as stack:
        server = nodes[0].process
        assert nodes[1].process.port == server.port
        enter = stack.enter_async_context
        url = f"{server.ws_url}?format=json"
        listeners = [await enter(connect(url)) for _ in range(CLIENTS)]
        counts = [await each.clients() for each in nodes]
        assert all(counts), counts
        assert sum(counts) == CLIENTS
        ids = [await publish(server.url, str(number)) for number in range(10)]
        for listener in listeners:
            frames = [json.loads(await asyncio.wait_for(listener.recv(), 5)) for _ in range(11)]
            assert [each["id"] for each in frames if each["type"] == "notification"] == ids
        for node in nodes:
            assert "without AIONOTIFY_NATS_URL" not in node.process.output()


async def test_stop_of_one_process_loses_no_request(tmp_path: Path) -> None:
    """Each over a new connection, while one of the two stops and after that."""
    async with running_nodes(tmp_path) as (staying, stopping):
        done = 0
        ended = asyncio.Event()

        async def publish_on() -> None:
            nonlocal done
            while not ended.is_set():
                await publish(staying.process.url, "x")
                done += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(publish_on())
            await eventually(lambda: done >= 50)
            assert await stopping.process.stop() == 0
            stopped = done
            await eventually(lambda: done >= stopped + 50)
            ended.set()


async def test_other_program_does_not_get_the_port(tmp_path: Path) -> None:
    async with running_nodes(tmp_path) as nodes:
        port = nodes[0].process.port
        with pytest.raises(AssertionError, match=f"127.0.0.1:{port}: Address already in use"):
            async with running_server({}, "--port", str(port)):
                pass
