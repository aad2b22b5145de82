"""The rule that ends a connection whose client accepts no data; for subscribers and HTTP alike."""

import asyncio
from collections.abc import Callable

from aionotify.tcp import acceptance

STALL_CHECKS = 4
"""Looks at a stalled client within its stall time-out."""


class StallTimer:
    """Watches how far a client accepts what was written to its transport.

    It exists only while the client has something to accept, so that an idle one pays nothing.
    """

    __slots__ = (
        "_accepted",
        "_handle",
        "_idle_checks",
        "_interval",
        "_on_progress",
        "_on_stall",
        "_transport",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        timeout: float,
        on_stall: Callable[[], None],
        on_progress: Callable[[], bool],
    ) -> None:
        """Call `on_stall` once the client has accepted no data for `timeout` seconds.

        If a check finds progress, or nothing left to accept, the result of `on_progress` says
        whether to go on watching.
        """
        self._transport = transport
        self._interval = timeout / STALL_CHECKS
        self._on_stall = on_stall
        self._on_progress = on_progress
        # Unknown before the first check: asking the kernel when the transport pauses would cost a
        # system call for every client that lags for a moment.
        self._accepted: int | None = None
        self._idle_checks = 0
        self._schedule()

    def cancel(self) -> None:
        """Stop watching. May be called more than once."""
        self._handle.cancel()

    def _schedule(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(self._interval, self._check)

    def _check(self) -> None:
        now = acceptance(self._transport)
        progress = self._accepted is not None and now.accepted > self._accepted
        if (progress or not now.outstanding) and not self._on_progress():
            return
        first = self._accepted is None
        self._idle_checks = 0 if first or progress else self._idle_checks + 1
        self._accepted = now.accepted
        if self._idle_checks < STALL_CHECKS:
            self._schedule()
        else:
            self._on_stall()
