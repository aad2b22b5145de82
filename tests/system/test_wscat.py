"""The transcript of the contract, with the real wscat."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support import ROOT, ServerProcess, eventually, exchange, free_port, running_server

REFUSAL = "You are not authorized to send notifications."


class Wscat:
    """A running wscat: what it shows, and what is typed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._output = b""

    async def read(self) -> None:
        """Take in what it shows, until its end."""
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(4096):
            self._output += chunk

    def type(self, line: str) -> None:
        """Enter a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def shown(self) -> list[str]:
        """The frames so far, each after a prompt; where there is no terminal, nothing else is."""
        lines = self._output.decode(errors="ignore").split("\n")[:-1]
        return [re.sub(r"^(> )+", "", line) for line in lines]

    async def shows(self, *frames: str) -> None:
        """Wait until exactly these have come, in this order."""
        await eventually(lambda: len(self.shown()) >= len(frames), 6, f"{frames}")
        assert self.shown() == list(frames)

    async def ends(self, text: str = "") -> None:
        """Wait until it ends by itself, with `text` among what it showed."""
        await asyncio.wait_for(self._process.wait(), 6)
        await eventually(lambda: text in self._output.decode(), 2, text)


@asynccontextmanager
async def wscat(url: str) -> AsyncIterator[Wscat]:
    """Run it, connected to `url`."""
    program = shutil.which("wscat")
    assert program, f"wscat is missing: python3 {ROOT / 'tests/run.py'}"
    process = await asyncio.create_subprocess_exec(
        *(program, "-c", url),
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
    """Without memcached."""
    async with running_server({"MEMCACHED_HOST": f"127.0.0.1:{free_port()}"}) as process:
        yield process


async def connected(server: ServerProcess, count: int) -> None:
    """Wait until that many are; what is typed earlier is lost."""

    async def counted() -> bool:
        answer = await exchange(server.port, b"GET /health HTTP/1.1")
        return answer.body.endswith(b'"connected_websockets":%d}' % count)

    await eventually(counted)


async def test_the_transcript(server: ServerProcess) -> None:
    async with wscat(f"{server.ws_url}?client=admin") as admin, wscat(server.ws_url) as user:
        await connected(server, 2)
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
        await user.ends()
        await admin.ends()


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/nope", 404), ("/ws/", 307), ("/health", 200)]
)
async def test_a_path_where_no_websocket_is(server: ServerProcess, path: str, status: int) -> None:
    async with wscat(f"ws://127.0.0.1:{server.port}{path}") as client:
        await client.ends(f"Unexpected server response: {status}")
