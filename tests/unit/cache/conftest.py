"""Fixtures of the tests of the cache."""

from collections.abc import Iterator

import pytest

import aionotify.cache
import aionotify.cache.marker
import aionotify.cache.merge
import aionotify.cache.replicator
import aionotify.hub
from tests.support import MemcachedProcess
from tests.support.builders import Clock
from tests.support.cache_nodes import NOW


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the time of day for the cache and the topics, which a test may set."""
    clock = Clock()
    clock.now = NOW / 1000
    for module in (aionotify.cache.marker, aionotify.cache.merge, aionotify.hub):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(aionotify.cache.replicator, "time", clock)
    return clock


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe soon for a lost memcached."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(aionotify.cache, "RETRY_LAST", 0.1)


@pytest.fixture(scope="module")
def shared() -> Iterator[MemcachedProcess]:
    """Run one memcached for all examples of a property: each has a topic of its own."""
    process = MemcachedProcess()
    process.start()
    yield process
    process.kill()
