"""Fixtures that several files of this folder share."""

import pytest

from aionotify.client import backoff


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `listen` wait for 10 ms before its first attempt to reconnect, and never for long."""
    monkeypatch.setattr(backoff, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(backoff, "MAX_WAIT", 0.2)
