"""Real parts for the tests: a memcached, the server's process, and waiting for a condition."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aionotify.net import Address
from aionotify.settings import Settings

ROOT = Path(__file__).parents[2]


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port on which nobody listens at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def alone(**values: Any) -> Settings:
    """Settings with which no memcached is found, on a free port of 127.0.0.1, and `values`."""
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "memcached_hosts": (Address("127.0.0.1", free_port()),),
    }
    return Settings(**(settings | values))


class Answer(NamedTuple):
    """What a server answered, byte for byte."""

    status: bytes
    """The whole status line."""

    headers: tuple[bytes, ...]
    """The header lines, without those that differ from moment to moment: Date and Server."""

    body: bytes


async def exchange(port: int, *lines: bytes) -> Answer:
    """Send a request of these lines to 127.0.0.1, and read until the server closes.

    `Host` and `Connection: close` are added.
    """
    lines = (*lines, b"Host: 127.0.0.1:%d" % port, b"Connection: close", b"", b"")
    head, _, body = (await converse(port, b"\r\n".join(lines))).partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    kept = (each for each in headers if not each.startswith((b"Date: ", b"Server: ")))
    return Answer(status, tuple(kept), body)


async def converse(port: int, request: bytes, seconds: float = 5) -> bytes:
    """Send `request` to 127.0.0.1; all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), seconds)
    finally:
        writer.close()


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], seconds: float = 5.0, what: str = ""
) -> None:
    """Wait until `condition` holds. AssertionError if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        if not isinstance(holds, bool):
            holds = await holds
        if holds:
            return
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def turning_loop(limit: float = 0.1) -> AsyncIterator[None]:
    """AssertionError if the event loop stands still for `limit` seconds in the meantime.

    Time in which other processes had the processor does not count, where that is known.
    """
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.monotonic() - _waited_for_processor()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - _waited_for_processor() - before)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert longest < limit, f"the event loop stood still for {longest * 1000:.0f} ms"


def _waited_for_processor() -> float:
    """Seconds that this thread could have run, and did not get to; 0 where it is not known."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        return 0.0


class MemcachedProcess:
    """A real memcached on 127.0.0.1, that can be killed, frozen, thawed and started again."""

    def __init__(self, port: int | None = None, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = port or free_port(host)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it accepts connections."""
        program = shutil.which("memcached")
        assert program, (
            "memcached is missing: apt-get install memcached (or brew install memcached)"
        )
        arguments = [program, "-l", self.host, "-p", str(self.port), "-U", "0"]
        if os.name == "posix" and os.geteuid() == 0:
            arguments += ["-u", "nobody"]
        self._process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
                return
            assert time.monotonic() < deadline, "memcached does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, with all it holds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it from running; its connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def command(self, line: bytes, end: bytes = b"END\r\n") -> bytes:
        """Send one command of the text protocol; the answer up to and with `end`."""
        with socket.create_connection((self.host, self.port), 2) as connection:
            connection.sendall(line + b"\r\n")
            answer = b""
            while not answer.endswith(end):
                chunk = connection.recv(1 << 20)
                assert chunk, f"memcached closed the connection after {answer!r}"
                answer += chunk
        return answer

    def statistic(self, name: str) -> int:
        """A number from memcached's own `stats`, as `cmd_get`."""
        found = re.search(rf"STAT {name} (\d+)\r\n".encode(), self.command(b"stats"))
        assert found, f"memcached has no statistic {name}"
        return int(found[1])

    def recents(self, topic: str = "main") -> list[dict[str, Any]]:
        """The recents that it holds, read past the server: oldest first, nothing if there are none.

        ValueError where what it holds is no JSON.
        """
        answer = self.command(b"get aionotify:1:recent:" + topic.encode())
        if answer == b"END\r\n":
            return []
        value = answer.partition(b"\r\n")[2].removesuffix(b"\r\nEND\r\n")
        notifications: list[dict[str, Any]] = json.loads(value)["notifications"]
        return notifications

    def messages(self, topic: str = "main") -> list[str]:
        """The texts of `recents`."""
        return [str(each["message"]) for each in self.recents(topic)]


class ServerProcess:
    """`python -m aionotify` as a process of its own, on a free port of 127.0.0.1."""

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
        """What it has printed so far, to standard output and standard error."""
        return self._log.read_text(encoding="utf-8")

    async def listening(self) -> None:
        """Wait until it says where it listens."""

        def announced() -> bool:
            assert self.process.returncode is None, self.output()
            return "listening on" in self.output()

        await eventually(announced, 8, "the server listens")
        found = re.search(r"http://[^ ]+:(\d+)", self.output())
        assert found
        self.port = int(found[1])

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the end: the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 10)


@contextlib.asynccontextmanager
async def running_server(
    environment: Mapping[str, str], *arguments: str, python: str = sys.executable
) -> AsyncIterator[ServerProcess]:
    """A server with `environment` as its only settings, listening; killed at the end if need be."""
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
