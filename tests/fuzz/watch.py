"""Checks that the server works on during a fuzz run: deliveries, latency, memory, files, log."""

import asyncio
import http.client
import re
import threading
import time
from pathlib import Path

import aiohttp

from tests.fuzz.attackers import Run
from tests.support import ServerProcess
from tests.support.processor import undisturbed_time, waited_for_processor

SLOW = 0.1
"""Seconds that `/health` may take: the event loop must not be blocked for longer."""

SLOW_SHARE = 50
"""One answer in so many may take longer than that."""

SLOWEST = 2.0
"""Seconds that no answer may take."""

ERROR_LINE = re.compile(r"^\S+ \S+ (ERROR|CRITICAL)\b", re.MULTILINE)
"""A log line of such a level. The word alone may be quoted from memcached: `CLIENT_ERROR bad`."""


class Probe(threading.Thread):
    """Requests `/health` again and again in a thread of its own, and measures each response."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self.times: list[float] = []
        """Seconds until each response, without those in which a thread waited for a processor."""
        self.noise: list[float] = []
        """By how many seconds a short sleep was too long: the delay of the machine itself."""

    def run(self) -> None:
        """Run until time is up."""
        while not self._run.over:
            before = time.monotonic()
            time.sleep(0.01)
            self.noise.append(time.monotonic() - before - 0.01)
            connection = http.client.HTTPConnection("127.0.0.1", self._run.server.port, timeout=5)
            before = self._time()
            try:
                connection.request("GET", "/health")
                connection.getresponse().read()
            except OSError:
                self.times.append(5.0)
            finally:
                connection.close()
            self.times.append(self._time() - before)

    def _time(self) -> float:
        """Return the time minus the waits of this thread and of the server for a processor."""
        return undisturbed_time() - waited_for_processor(self._run.server.process.pid)

    def check(self) -> None:
        """AssertionError if the event loop was blocked for longer than the machine explains."""
        slow = [each for each in self.times if each > SLOW + max(self.noise)]
        assert len(self.times) > 10
        assert len(slow) <= len(self.times) // SLOW_SHARE, f"slow responses: {slow}"
        assert max(self.times) < SLOWEST, f"the slowest response took {max(self.times):.2f} s"


async def check_delivery(run: Run) -> int:
    """Publish until time is up, and check each delivery. Return the number of notifications."""
    count = 0
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{run.server.ws_url}?client=admin&topic=healthy") as admin,
        session.ws_connect(f"{run.server.ws_url}?topic=healthy") as user,
    ):
        while not run.over:
            await admin.send_str(f"number {count}")
            for each in (admin, user):
                received = await each.receive_str(timeout=5)
                assert received == f"[Notification] number {count}"
            count += 1
            await asyncio.sleep(0.02)
    return count


async def watch_memory(run: Run) -> list[int]:
    """Return the resident memory of the server, in KiB, every 0.1 s until time is up."""
    sizes = []
    while not run.over:
        await asyncio.sleep(0.1)
        sizes.append(resident_kib(run.server))
    return sizes


def growth(sizes: list[int]) -> int:
    """Return the lasting growth: the least of the last third, above the least of the first.

    The first tenth is left out, because the server warms up.
    """
    third = len(sizes) // 3
    return min(sizes[-third:]) - min(sizes[len(sizes) // 10 : third])


def resident_kib(server: ServerProcess) -> int:
    """Return the resident memory of the process in KiB, or 0 on systems without /proc."""
    status = Path("/proc", str(server.process.pid), "status")
    if not status.exists():
        return 0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmRSS"].split()[0])


def open_files(server: ServerProcess) -> int:
    """Return the number of open files of the process, or 0 on systems without /proc."""
    folder = Path("/proc", str(server.process.pid), "fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def check_log(output: str) -> None:
    """AssertionError if the log calls a fault of a client an error of the server."""
    for word in ("Traceback", "never retrieved"):
        assert word not in output, output[-5000:]
    assert not ERROR_LINE.search(output), output[-5000:]
