"""The server as a child process."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.waiting import eventually

START_TIMEOUT = 20.0
"""Seconds within which the server listens."""

STOP_TIMEOUT = 10.0
"""Seconds within which the server ends after a signal."""


class ServerProcess:
    """`python -m aionotify` as a child process, on a free port of 127.0.0.1."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.port = 0
        self._log = log

    @property
    def url(self) -> str:
        """The server's address for HTTP, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """The address for WebSocket clients."""
        return f"ws://127.0.0.1:{self.port}/ws"

    def output(self) -> str:
        """Return everything printed so far to standard output and standard error."""
        return self._log.read_text(encoding="utf-8")

    async def listening(self) -> None:
        """Wait until the server logs its address, and read the port from there."""

        def announced() -> bool:
            assert self.process.returncode is None, self.output()
            return "listening on" in self.output()

        try:
            await eventually(announced, START_TIMEOUT, "the server listens")
        except AssertionError as error:
            raise AssertionError(f"{error}, output: {self.output()}") from error
        found = re.search(r"http://[^ ]+:(\d+)", self.output())
        assert found
        self.port = int(found[1])

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT)


@contextlib.asynccontextmanager
async def running_server(
    environment: Mapping[str, str], *arguments: str, python: str = sys.executable
) -> AsyncIterator[ServerProcess]:
    """Run a listening server with `environment` as its only settings; kill it at the end."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIONOTIFY_", "MEMCACHED_"))
    }
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:  # noqa: ASYNC230  # a new local file, opened once
            process = await asyncio.create_subprocess_exec(
                python,
                "-m",
                "aionotify",
                *("--host", "127.0.0.1", "--port", "0", *arguments),
                cwd=folder,
                env={**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
                stdout=output,
                stderr=output,
            )
        server = ServerProcess(process, log)
        try:
            await server.listening()
            yield server
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
