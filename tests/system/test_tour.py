"""The first screen of README.md, from a clone to the first notification, as a new user has it."""

import asyncio
import os
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support import eventually, free_port
from tests.support.documents import commands, copy_project

FIRST_SCREEN = 4
"""Commands: one that installs and starts the server, and three to try it."""


@pytest.mark.timeout(200)  # installs from the package index
async def test_first_commands_install_publish_and_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a path with a space. The time depends on the network, so it is printed, not judged."""
    install, subscribe, publish, recent = commands("sh")[:FIRST_SCREEN]
    folder = tmp_path / "a clone"
    folder.mkdir()
    copy_project(folder)
    address = f"localhost:{free_port()}"
    os_environment = {**os.environ, "AIONOTIFY_PORT": address.partition(":")[2]}
    begin = time.monotonic()
    command = install.replace("python3", shlex.quote(sys.executable), 1)
    async with running(command, folder, os_environment) as server:
        await eventually(lambda: f"listening on http://{address}" in server.read_text(), 180)
        started = time.monotonic()
        subscribe, publish, recent = (
            each.replace("localhost:8000", address) for each in (subscribe, publish, recent)
        )
        async with running(subscribe, folder) as stream:
            await eventually(lambda: "event: subscribed" in stream.read_text())
            assert '"message":"Hello"' in await output(publish)
            await eventually(lambda: '"message":"Hello"' in stream.read_text())
            seen = time.monotonic()
        assert '"Hello"]' in await output(recent)
    assert "stopped" in server.read_text()
    with capsys.disabled():
        print(f"\ninstalled and started in {started - begin:.1f} s, seen in {seen - begin:.1f} s")


@asynccontextmanager
async def running(
    command: str, folder: Path, environment: dict[str, str] | None = None
) -> AsyncIterator[Path]:
    """Run a command in a terminal of its own until Ctrl-C. Yield the file with its output."""
    log = folder.parent / f"{abs(hash(command))}.log"
    with log.open("wb") as printed:
        process = await asyncio.create_subprocess_shell(
            command,
            cwd=folder,
            env=environment,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        os.killpg(process.pid, signal.SIGINT)
        await process.wait()


async def output(command: str) -> str:
    """Run a command to its end, and return its output."""
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, command
    return printed.decode()
