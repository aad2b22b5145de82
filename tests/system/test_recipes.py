"""The programs in docker/RECIPES.md run as they stand there."""

import asyncio
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify.client import publish
from tests.support import ROOT, ServerProcess, eventually, running_server
from tests.support.client import connected_clients
from tests.support.documents import RECIPES, blocks, commands
from tests.support.environment import without_memcached

BRIDGE = "python bridge.py http://localhost:8000 ntfy://my-secret-topic"


def recipe(start: str) -> str:
    """Return the program that imports `start`."""
    (found,) = (each for each in blocks("python", RECIPES) if f"import {start}\n" in each)
    return found


def test_every_command_is_tested() -> None:
    assert commands("sh", RECIPES) == [BRIDGE]


def test_service_in_the_document_is_known() -> None:
    program = "import apprise, sys; sys.exit(not apprise.Apprise().add(sys.argv[1]))"
    # In a process of its own: importing Apprise here would raise its deprecation warnings.
    subprocess.run([sys.executable, "-c", program, shlex.split(BRIDGE)[-1]], check=True)


@asynccontextmanager
async def running(
    words: list[str], folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program in `folder`; AssertionError if it prints a traceback."""
    log = folder / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *words, cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert "Traceback" not in log.read_text(encoding="utf-8"), log.read_text(encoding="utf-8")


class Phone:
    """A service that Apprise sends to: it refuses the first message, and keeps the others."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.refused = 0

    async def receive(self, request: web.Request) -> web.Response:
        document: dict[str, Any] = await request.json()
        if not self.refused:
            self.refused += 1
            return web.Response(status=503)
        self.messages.append((document["title"], document["message"]))
        return web.Response()


@pytest.fixture
async def phone() -> AsyncIterator[tuple[Phone, int]]:
    made = Phone()
    app = web.Application()
    app.router.add_post("/", made.receive)
    async with TestServer(app) as server:
        assert server.port is not None
        yield made, server.port


@asynccontextmanager
async def bridge(server: ServerProcess, port: int, folder: Path) -> AsyncIterator[None]:
    """Run the bridge from `server` to the phone at `port`, without its patience."""
    program = recipe("apprise").replace("sleep(10)", "sleep(0.1)")
    (folder / "bridge.py").write_text(program, encoding="utf-8")
    _, name, _, _ = shlex.split(BRIDGE)
    words = [sys.executable, name, server.url, f"json://127.0.0.1:{port}"]
    async with running(words, folder, {"PYTHONPATH": str(ROOT), "HOME": str(folder)}):
        yield


async def test_bridge_forwards_every_notification_once(
    phone: tuple[Phone, int], tmp_path: Path
) -> None:
    """Also those that were published while it did not run."""
    made, port = phone
    async with running_server(without_memcached()) as server:
        async with bridge(server, port, tmp_path):
            await publish(server.url, "a")
            last = await publish(server.url, "b")
            position = tmp_path / "bridge.position"
            await eventually(lambda: position.is_file() and position.read_text() == last.id, 8)
        await eventually(lambda: has_no_clients(server))
        for number in range(9):
            await publish(server.url, f"{number}")
        async with bridge(server, port, tmp_path):
            await eventually(lambda: len(made.messages) >= 11, 8)
    assert made.messages == [("aionotify", text) for text in "ab012345678"]
    assert made.refused == 1


async def has_no_clients(server: ServerProcess) -> bool:
    return await connected_clients(server.url) == 0
