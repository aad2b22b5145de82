"""Log lines about clients: enough of them to tell why, and never one for each of thousands."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

WINDOW = 60.0
"""Seconds after which the lines that were held back are summed up in one."""

LINES = 10
"""Lines of one kind that are logged as they come, in each window."""

MAX_KEYS = 100
"""Keys that are remembered, because clients can make up as many as they like."""

KEY_LIFETIME = 3600.0
"""Seconds after which a key is logged again: the log of the day before may be gone."""

QUIET = 10.0
"""Seconds without an event after which a condition is over.

A full server gets a free place with every client that leaves, and rejects the next one at once.
"""

CHECK_INTERVAL = 1.0
"""Seconds between two checks for lines that are due."""


@dataclass(slots=True)
class _Kind:
    """The lines of one kind within a window."""

    started: float
    logged: int = 0
    held: int = 0
    last: str = ""


class _Condition:
    """A condition that lasts: logged when it begins, and when it is over."""

    def __init__(self, end: str) -> None:
        self.count = 0
        self._end = end
        self._since = self._last = 0.0

    def note(self, now: float, line: str) -> None:
        """Count an event; log `line` if it is the first."""
        if not self.count:
            self._since = now
            logger.warning("%s", line)
        self.count += 1
        self._last = now

    def settle(self, now: float) -> None:
        """Log the end if there was no event for a while."""
        if self.count and now - self._last >= QUIET:
            logger.info(self._end, f"{now - self._since:.0f}", f"{self.count:,}")
            self.count = 0


class Incidents:
    """Rejected and disconnected clients in the log, with bounds on the number of lines.

    `settle_loop` must run, or lines that were held back are never summed up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Create it without incidents. `clock` returns seconds."""
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        self._keys: dict[str, float] = {}
        self._limit = _Condition("accepting again after %s s, %s rejected")
        self._files = _Condition("files are free again after %s s, accepting failed %s times")

    def report(self, kind: str, line: str, lines: int = LINES) -> None:
        """Log `line`, or count it if `lines` of its kind have been logged in this window."""
        state = self._kinds.get(kind)
        if state is None:
            state = self._kinds[kind] = _Kind(self._clock())
        if state.logged < lines:
            state.logged += 1
            logger.info("%s", line)
        else:
            state.held += 1
            state.last = line

    def report_once(self, key: str, line: str) -> None:
        """Log `line` if it is the first for its key."""
        if key not in self._keys and len(self._keys) < MAX_KEYS:
            self._keys[key] = self._clock()
            logger.info("%s", line)
            if len(self._keys) == MAX_KEYS:
                logger.info("%d of these were logged, the next ones are not", MAX_KEYS)

    def limit_reached(self, limit: int) -> None:
        """Note that a client was rejected because `limit` clients are connected."""
        self._limit.note(
            self._clock(),
            f"connection limit reached: {limit:,} clients are connected, rejecting further ones "
            "with 503 (AIONOTIFY_MAX_CONNECTIONS, or the limit on open files)",
        )

    def out_of_files(self, error: str) -> None:
        """Note that the system refused to accept a connection."""
        self._files.note(
            self._clock(),
            f"cannot accept connections ({error}): retrying every second (raise the limit on open "
            "files, ulimit -Hn)",
        )

    def settle(self, *, is_full: bool = False) -> None:
        """Log what is due: sums of lines that were held back, and conditions that are over."""
        now = self._clock()
        for name, kind in list(self._kinds.items()):
            if now - kind.started >= WINDOW:
                self._sum_up(name, now)
        for key, since in list(self._keys.items()):
            if now - since >= KEY_LIFETIME:
                del self._keys[key]
        self._files.settle(now)
        if not is_full:
            self._limit.settle(now)

    def close(self) -> None:
        """Log what was held back, whether it is due or not."""
        for name in list(self._kinds):
            self._sum_up(name, self._clock())

    async def settle_loop(self, is_full: Callable[[], bool]) -> None:
        """Call `settle` every second, forever, and `close` when cancelled."""
        try:
            while True:
                await asyncio.sleep(CHECK_INTERVAL)
                self.settle(is_full=is_full())
        finally:
            self.close()

    def _sum_up(self, name: str, now: float) -> None:
        kind = self._kinds.pop(name)
        if kind.held == 1:
            logger.info("%s", kind.last)
        elif kind.held:
            seconds = now - kind.started
            logger.info("%s more in %.0f s, the last: %s", f"{kind.held:,}", seconds, kind.last)
