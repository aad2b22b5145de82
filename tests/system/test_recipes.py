"""The programs in docker/RECIPES.md run as they stand there."""

import asyncio
import contextlib
import shlex
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify.client import Notification, Refused, listen, publish
from tests.support import ROOT, ServerProcess, eventually, free_port, running_server
from tests.support.client import connected_clients
from tests.support.documents import RECIPES, blocks, commands
from tests.support.environment import without_memcached
from tests.support.listener import listening

SHOP = "uvicorn shop:app --port 8001"
BRIDGE = "python bridge.py http://localhost:8000 ntfy://my-secret-topic"


SHARED = {"AIONOTIFY_JWT_SECRET": "a-secret-of-32-bytes-or-more-0123456789"}
"""The secret of the application and the server."""


def recipe(start: str) -> str:
    """Return the program that imports `start`."""
    (found,) = (each for each in blocks("python", RECIPES) if f"import {start}\n" in each)
    return found


def test_every_command_is_tested() -> None:
    assert commands("sh", RECIPES) == [SHOP, BRIDGE]


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


@asynccontextmanager
async def shop(server: ServerProcess, folder: Path) -> AsyncIterator[str]:
    """Run the FastAPI application, and yield its address."""
    (folder / "shop.py").write_text(recipe("jwt"), encoding="utf-8")
    port = f"{free_port()}"
    words = [sys.executable, "-m", *shlex.split(SHOP.replace("8001", port))]
    environment = {"PYTHONPATH": f"{ROOT}", "NOTIFY_URL": server.url, **SHARED}
    url = f"http://127.0.0.1:{port}"
    async with running(words, folder, environment):
        await eventually(lambda: answers(url), 8, "the application answers")
        yield url


async def answers(url: str) -> bool:
    with contextlib.suppress(aiohttp.ClientConnectionError):
        async with aiohttp.request("GET", url):
            return True
    return False


async def token_of(url: str, user: str, password: str) -> str:
    """Log in, and return the token. Raise ClientResponseError for an error response."""
    login = b64encode(f"{user}:{password}".encode()).decode()
    async with aiohttp.request(
        *("GET", f"{url}/token"),
        headers={"Authorization": f"Basic {login}"},
        raise_for_status=True,
    ) as answer:
        token: str = await answer.json()
        return token


async def test_user_of_the_application_gets_own_notifications(tmp_path: Path) -> None:
    async with (
        running_server(without_memcached(**SHARED)) as server,
        shop(server, tmp_path) as url,
        listening(
            server.url, topics="user.42", token=lambda: token_of(url, "42", "correct horse")
        ) as listener,
    ):
        await listener.connects(1)
        for _ in range(2):
            async with aiohttp.request("POST", f"{url}/orders/7/ship") as answer:
                assert answer.status == 200
        await listener.receives("Order 7 is on its way")
        (event,) = listener.events
        assert isinstance(event, Notification)
        assert (event.topic, event.tag) == ("user.42", "order-7")
        other = await token_of(url, "43", "battery staple")
        with pytest.raises(Refused, match="403"):
            await anext(listen(server.url, "user.42", token=other))
        with pytest.raises(Refused, match="403"):
            await publish(server.url, "Hello", "user.42", token=other)
        with pytest.raises(aiohttp.ClientResponseError, match="401"):
            await token_of(url, "42", "wrong")
