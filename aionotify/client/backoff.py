"""The waits between attempts to connect."""

import random
import time
from collections.abc import Callable

FIRST_WAIT = 0.5
"""Seconds to wait before the first attempt to reconnect, at most."""

MAX_WAIT = 15.0
"""Seconds to wait before any attempt to reconnect, at most."""


class Backoff:
    """The waits between attempts to connect.

    A wait is random between half and all of the longest one, so that the clients of a server that
    restarts do not all come back at the same time. The longest wait doubles with each attempt, and
    is the first one again after a connection that lasted longer than itself. A server that accepts
    connections and ends them at once is therefore left alone for longer and longer.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._uniform = uniform
        self._longest = FIRST_WAIT
        self._connected_at: float | None = None

    def connected(self) -> None:
        """Note that a connection was made just now."""
        self._connected_at = self._clock()

    def next(self) -> float:
        """Return the seconds to wait after the end of a connection, or after a failed attempt."""
        if self._connected_at is not None and self._clock() - self._connected_at > self._longest:
            self._longest = FIRST_WAIT
        self._connected_at = None
        longest, self._longest = self._longest, min(MAX_WAIT, self._longest * 2)
        return self._uniform(longest / 2, longest)
