"""Servers as child processes on one core while the load runs on another; their CPU and memory."""

import contextlib
import os
import resource
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.peers import Peer
from tests.support import ROOT, free_port

SPARE_FILES = 200
"""Files that a process needs in addition to one per client."""


class Failure(Exception):
    """A server did not behave as the benchmark requires; the message says how."""


class Server:
    """A running server, including its child processes."""

    def __init__(self, pid: int, port: int) -> None:
        self.port = port
        self._pid = str(pid)

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far.

        It comes from the scheduler in nanoseconds: the clock ticks of /proc/…/stat are 10 ms.
        """
        paths = [path for each in self._family() for path in each.glob("task/*/schedstat")]
        return sum(int(path.read_text().split()[0]) for path in paths) / 1e9

    def resident_bytes(self) -> int:
        """Return the resident memory."""
        statuses = [(each / "status").read_text() for each in self._family()]
        return sum(int(text.split("VmRSS:")[1].split()[0]) * 1024 for text in statuses)

    def _family(self) -> list[Path]:
        main = Path("/proc", self._pid)
        children = (main / "task" / main.name / "children").read_text().split()
        return [main, *(Path("/proc", each) for each in children)]


@contextlib.contextmanager
def running(peer: Peer, core: int | None = 0) -> Iterator[Server]:
    """Run `peer` on a free port of 127.0.0.1. It is terminated when the block ends.

    It gets a core for itself, or none in particular.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "log"), "w+b") as log:
        command = peer.command(port, Path(folder))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **peer.environment}
        with _on_core(core):  # children inherit the affinity
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            _await_listening(process, port, Path(folder, "log"))
            yield Server(process.pid, port)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_listening(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 15
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failure(f"the server did not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.02)


def prepare() -> int:
    """Move to a core of our own and raise the file limit. Return the possible number of clients."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = min(hard, 1_000_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if len(_cores()) > 1:
        os.sched_setaffinity(0, {_cores()[1]})
    return hard - SPARE_FILES


@contextlib.contextmanager
def _on_core(number: int | None) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    if number is not None:
        os.sched_setaffinity(0, {_cores()[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


_CORES: list[int] = []


def _cores() -> list[int]:
    """Return the cores that this process could use when it started."""
    if not _CORES:
        _CORES.extend(sorted(os.sched_getaffinity(0)))
    return _CORES
