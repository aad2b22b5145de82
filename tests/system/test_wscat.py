"""The transcript of the contract, replayed with the real wscat."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support import ROOT, ServerProcess, eventually, running_server
from tests.support.client import connected_clients
from tests.support.documents import OPERATING, read
from tests.support.environment import without_memcached

REFUSAL = "You are not authorized to send notifications."


class Wscat:
    """A running wscat: its input and its output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._output = b""

    async def read(self) -> None:
        """Collect its output until it exits."""
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(4096):
            self._output += chunk

    def type(self, line: str) -> None:
        """Enter `line`."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def shown(self) -> list[str]:
        """Return the frames shown so far, without the prompts.

        Without a terminal, wscat prints nothing but prompts and frames.
        """
        lines = self._output.decode(errors="ignore").split("\n")[:-1]
        return [re.sub(r"^(> )+", "", line) for line in lines]

    async def shows(self, *frames: str) -> None:
        """Wait for `frames`. AssertionError unless these, in this order, are all it has shown."""
        await eventually(lambda: len(self.shown()) >= len(frames), what=f"{frames}")
        assert self.shown() == list(frames)

    async def exits(self, text: str = "") -> None:
        """Wait until it exits by itself, having printed `text`."""
        await asyncio.wait_for(self._process.wait(), 10)
        await eventually(lambda: text in self._output.decode(), what=text)


@asynccontextmanager
async def wscat(url: str, *options: str) -> AsyncIterator[Wscat]:
    """Run wscat, connected to `url`."""
    program = shutil.which("wscat")
    assert program, f"wscat is missing: python3 {ROOT / 'tests/run.py'}"
    process = await asyncio.create_subprocess_exec(
        *(program, *options, "-c", url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    client = Wscat(process)
    reading = asyncio.create_task(client.read())
    try:
        yield client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    """Start a server without memcached."""
    async with running_server(without_memcached()) as process:
        yield process


async def test_transcript_matches_contract(server: ServerProcess) -> None:
    async with wscat(f"{server.ws_url}?client=admin") as admin, wscat(server.ws_url) as user:
        await wait_for_clients(server, 2)
        user.type("Hello")
        await user.shows(REFUSAL)
        admin.type("one")
        await admin.shows("[Notification] one")
        await user.shows(REFUSAL, "[Notification] one")
        user.type("admin:  two é 😀 ")
        await admin.shows("[Notification] one", "[Notification] two é 😀")
        await user.shows(REFUSAL, "[Notification] one", "[Notification] two é 😀")
        admin.type("admin:three")
        admin.type("admin:admin:four")
        admin.type("admin: ")
        admin.type("five")
        admin.type("six")
        sent = ["three", "admin:four", "five", "six"]
        await user.shows(
            *(REFUSAL, "[Notification] one", "[Notification] two é 😀"),
            *(f"[Notification] {text}" for text in sent),
        )
        await admin.shows(
            *("[Notification] one", "[Notification] two é 😀", "[Notification] three"),
            *("[Notification] admin:four", "Empty notifications are not sent."),
            *("[Notification] five", "[Notification] six"),
        )
        async with wscat(f"{server.ws_url}?client=ADMIN") as late:
            recents = [f"[Recent] {text}" for text in ("two é 😀", *sent)]
            await late.shows(*recents)
            late.type("I am a user")
            await late.shows(*recents, REFUSAL)
            late.type("Admin:a user")
            await late.shows(*recents, REFUSAL, REFUSAL)
        assert await server.stop() == 0
        await user.exits()
        await admin.exits()


MISTAKES = {"/": 200, "/nope": 404, "/ws/": 307, "/health": 200}
"""Paths that are not `/ws`, each with the status of the answer."""


@pytest.mark.parametrize("path", MISTAKES)
async def test_other_path_rejects_upgrade(server: ServerProcess, path: str) -> None:
    async with wscat(f"ws://127.0.0.1:{server.port}{path}") as client:
        await client.exits(f"Unexpected server response: {MISTAKES[path]}")


async def test_other_host_name_rejects_upgrade(server: ServerProcess) -> None:
    async with wscat(server.ws_url, "--host", "notify.example.com") as client:
        await client.exits("Unexpected server response: 403")


def test_troubleshooting_has_these_mistakes() -> None:
    table = read(OPERATING).partition("## Troubleshooting")[2]
    rows = re.findall(r"^\| wscat: `Unexpected server response: (\d+)` \|", table, re.MULTILINE)
    assert {*map(int, rows)} == {403, *MISTAKES.values()}
    assert "| wscat `-x` in a script or cron job often sends nothing |" in table


async def wait_for_clients(server: ServerProcess, count: int) -> None:
    """Wait until `count` clients are connected: wscat drops lines typed before that."""

    async def counted() -> bool:
        return await connected_clients(server.url) == count

    await eventually(counted)
