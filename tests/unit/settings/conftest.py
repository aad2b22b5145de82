"""Fixtures for the tests of the settings."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter an empty working directory, without `.env`, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
