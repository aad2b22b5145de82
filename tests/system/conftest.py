"""Fixtures that several files of this folder share."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from aionotify.client import backoff
from tests.support.browser import browser
from tests.support.client_page import OtherSite, other_site


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `listen` wait for 10 ms before its first attempt to reconnect, and never for long."""
    monkeypatch.setattr(backoff, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(backoff, "MAX_WAIT", 0.2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[OtherSite]:
    """Serve a page of another site, and run one browser for all tests of the file."""
    async with other_site() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """Run one browser for all tests of the file."""
    async with browser() as running:
        yield running
