"""The program without the parts of Python that Windows lacks."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.support import running_server
from tests.support.environment import with_startup_code, without_memcached

WINDOWS = '''\
"""Hides the modules and methods that Windows lacks."""
import asyncio
import signal
import sys

for name in ("resource", "uvloop", "fcntl", "pwd", "grp"):
    sys.modules[name] = None  # importing it raises ImportError


def add_signal_handler(self, *arguments):
    raise NotImplementedError


asyncio.SelectorEventLoop.add_signal_handler = add_signal_handler
asyncio.SelectorEventLoop.remove_signal_handler = add_signal_handler
if {ctrl_break}:
    signal.SIGBREAK = signal.SIGUSR1  # the signal of Ctrl-Break on Windows
print("as on Windows", flush=True)
'''

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]

IMPORT_EVERYTHING = """\
import importlib, pkgutil, aionotify
for each in pkgutil.walk_packages(aionotify.__path__, "aionotify."):
    print(importlib.import_module(each.name).__name__)
from aionotify.limits import connections_allowed, raise_file_limit
raise_file_limit()
print("connections", connections_allowed())
"""


@pytest.mark.parametrize("number", SIGNALS, ids=["Ctrl-C", "SIGTERM", "Ctrl-Break"])
async def test_signal_stops_cleanly(number: int, tmp_path: Path) -> None:
    environment = like_windows(tmp_path, ctrl_break=number == signal.SIGUSR1)
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


async def test_every_module_imports(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", IMPORT_EVERYTHING),
        env=like_windows(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 0, printed
    assert "aionotify.endpoints.ws\n" in printed
    assert re.search(r"^connections \d{6,}$", printed, re.MULTILINE)


def like_windows(folder: Path, *, ctrl_break: bool = False) -> dict[str, str]:
    """Return an environment in which Python lacks the same parts as on Windows."""
    source = WINDOWS.format(ctrl_break=ctrl_break)
    return {**without_memcached(), **with_startup_code(folder, source)}
