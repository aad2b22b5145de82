"""Look up host names without a thread."""

import pytest

import aionotify.cache.memcached
from aionotify.net import Address


def resolve_without_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cache take each host of its settings for an IP address, as tests give them.

    The cache resolves a host in a new thread before every attempt to connect. On a busy machine
    the thread loses the processor while it holds the GIL, and a test that runs the server in its
    own event loop waits for it, for 0.1 to 0.5 s. That is not time on the run queue, so the clock
    in `processor` cannot subtract it. In 5 runs on two processors beside 8 busy ones, the loop
    was called blocked 7 times; in 10 runs without the thread, never.
    """

    async def resolve(address: Address) -> list[str]:
        return [address.host]

    monkeypatch.setattr(aionotify.cache.memcached, "_resolve", resolve)
