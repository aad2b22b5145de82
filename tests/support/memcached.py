"""A real memcached as a child process."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from typing import Any

from tests.support.waiting import free_port

START_TIMEOUT = 5.0
"""Seconds within which memcached accepts connections."""


class MemcachedProcess:
    """A real memcached on 127.0.0.1 that can be killed, frozen, thawed and started again."""

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
            # memcached refuses to run as root unless it is told which user to become.
            arguments += ["-u", "nobody"]
        self._process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
                return
            assert time.monotonic() < deadline, "memcached accepts no connections"
            time.sleep(0.01)

    def kill(self) -> None:
        """End the process at once; everything stored is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop the process (SIGSTOP); its connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process continue."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def command(self, line: bytes, end: bytes = b"END\r\n") -> bytes:
        """Send one command of the text protocol, and return the response, which ends with `end`."""
        with socket.create_connection((self.host, self.port), 2) as connection:
            connection.sendall(line + b"\r\n")
            answer = b""
            while not answer.endswith(end):
                chunk = connection.recv(1 << 20)
                assert chunk, f"memcached closed the connection after {answer!r}"
                answer += chunk
        return answer

    def statistic(self, name: str) -> int:
        """Return a number from memcached's own `stats`, such as `cmd_get`."""
        found = re.search(rf"STAT {name} (\d+)\r\n".encode(), self.command(b"stats"))
        assert found, f"memcached has no statistic {name}"
        return int(found[1])

    def recents(self, topic: str = "main") -> list[dict[str, Any]]:
        """Return the stored recent notifications, oldest first, without asking the server.

        Raise ValueError if the stored value is not JSON.
        """
        answer = self.command(b"get aionotify:1:recent:" + topic.encode())
        if answer == b"END\r\n":
            return []
        value = answer.partition(b"\r\n")[2].removesuffix(b"\r\nEND\r\n")
        notifications: list[dict[str, Any]] = json.loads(value)["notifications"]
        return notifications

    def messages(self, topic: str = "main") -> list[str]:
        """Return the messages of `recents`."""
        return [str(each["message"]) for each in self.recents(topic)]
