"""Time without the delays of a busy machine.

Several test processes and their servers share two processors. Under that load a burst of 40 ms of
work takes up to 600 ms, and a test that measures with the wall clock fails for no fault of the
server. Linux reports how long a thread was ready to run but had to wait for a processor; here that
time is subtracted. Waiting for a time-out, a lock or another process still counts in full.
"""

import time
from pathlib import Path

MAX_DISTURBANCE = 0.001
"""Seconds that a thread may have to wait in the middle of a measurement before it is repeated."""


def waited_for_processor(pid: int | None = None) -> float:
    """Return the seconds that the main thread of process `pid` was ready but not running.

    Without `pid`, return them for the calling thread. The result is 0 where the system does not
    report it.
    """
    path = Path("/proc/thread-self" if pid is None else f"/proc/{pid}", "schedstat")
    try:
        # The second field is the time on the run queue in nanoseconds (Linux, CONFIG_SCHED_INFO).
        return int(path.read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        return 0.0


def undisturbed_time() -> float:
    """Return the monotonic time minus the time that this thread has waited for a processor."""
    while True:
        waited = waited_for_processor()
        now = time.monotonic()
        # If the thread had to wait between the two readings, they do not belong together.
        if waited_for_processor() - waited < MAX_DISTURBANCE:
            return now - waited
