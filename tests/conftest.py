"""Fixtures that more than one file of tests uses."""

from collections.abc import Iterator

import pytest

from tests.support import MemcachedProcess


@pytest.fixture
def memcached() -> Iterator[MemcachedProcess]:
    """A real memcached, running and empty."""
    process = MemcachedProcess()
    process.start()
    yield process
    process.kill()
