"""The rule that ends a connection whose client accepts no data; for subscribers and HTTP alike."""

import asyncio
from collections.abc import Callable

STALL_CHECKS = 4
"""Looks at a paused transport within the stall time-out."""


class StallTimer:
    """Watches a transport from the moment its write buffer fills until it is empty again.

    It exists only that long, so that an idle client pays nothing for it.
    """

    __slots__ = ("_handle", "_idle_checks", "_interval", "_on_stall", "_transport", "_unsent")

    def __init__(
        self, transport: asyncio.WriteTransport, timeout: float, on_stall: Callable[[], None]
    ) -> None:
        """Call `on_stall` once the client has accepted no byte for `timeout` seconds."""
        self._transport = transport
        self._interval = timeout / STALL_CHECKS
        self._on_stall = on_stall
        self._unsent = transport.get_write_buffer_size()
        self._idle_checks = 0
        self._schedule()

    def cancel(self) -> None:
        """Stop watching. May be called more than once."""
        self._handle.cancel()

    def _schedule(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(self._interval, self._check)

    def _check(self) -> None:
        unsent = self._transport.get_write_buffer_size()
        # A byte that was accepted between two checks starts the count anew.
        self._idle_checks = 0 if unsent < self._unsent else self._idle_checks + 1
        self._unsent = unsent
        if self._idle_checks < STALL_CHECKS:
            self._schedule()
        else:
            self._on_stall()
