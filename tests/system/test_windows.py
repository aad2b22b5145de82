"""What Windows does not have is not needed: the program without it."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.support import free_port, running_server

WINDOWS = '''\
"""Imported by Python at its start: hides what Windows does not have."""
import asyncio
import signal
import sys

for name in ("resource", "uvloop", "fcntl", "pwd", "grp"):
    sys.modules[name] = None  # an import of it fails


def add_signal_handler(self, *arguments):
    raise NotImplementedError


asyncio.SelectorEventLoop.add_signal_handler = add_signal_handler
asyncio.SelectorEventLoop.remove_signal_handler = add_signal_handler
if {ctrl_break}:
    signal.SIGBREAK = signal.SIGUSR1  # what Ctrl-Break sends there
print("as on Windows", flush=True)
'''


def windows(folder: Path, *, ctrl_break: bool = False) -> dict[str, str]:
    """An environment in which Python is as on Windows, as far as it matters."""
    text = WINDOWS.format(ctrl_break=ctrl_break)
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    root = str(Path(__file__).parent.parent.parent)
    return {
        "PYTHONPATH": f"{folder}:{root}",
        "MEMCACHED_HOST": f"127.0.0.1:{free_port()}",
    }


ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


@pytest.mark.parametrize("number", ENDS, ids=["Ctrl-C", "SIGTERM", "Ctrl-Break"])
async def test_the_server_runs_and_ends_cleanly(number: int, tmp_path: Path) -> None:
    environment = windows(tmp_path, ctrl_break=number == signal.SIGUSR1)
    async with running_server(environment) as server:
        assert server.output().startswith("as on Windows\n")
        async with (
            connect(f"{server.ws_url}?client=admin") as admin,
            connect(server.ws_url) as user,
        ):
            await admin.send("Hello")
            for client in (admin, user):
                assert await asyncio.wait_for(client.recv(), 5) == "[Notification] Hello"
            assert await server.stop(number) == 0
            for client in (admin, user):
                await client.wait_closed()
                assert client.close_code == 1012
        assert server.output().endswith("aionotify.server: stopped\n")
        assert "Traceback" not in server.output()


async def test_every_module_can_be_imported(tmp_path: Path) -> None:
    program = (
        "import importlib, pkgutil, aionotify\n"
        "for each in pkgutil.walk_packages(aionotify.__path__, 'aionotify.'):\n"
        "    print(importlib.import_module(each.name).__name__)\n"
        "from aionotify.limits import connections_allowed, raise_file_limit\n"
        "raise_file_limit()\n"
        "print('connections', connections_allowed())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env=windows(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 0, printed
    assert "aionotify.endpoints.ws\n" in printed
    assert re.search(r"^connections \d{6,}$", printed, re.MULTILINE)
