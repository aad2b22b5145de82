"""One nats-server for all tests of this folder."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

import aionotify.broker.nats.follower
from aionotify.settings import Settings
from aionotify.settings.nats import SERVERS
from tests.support.nats import NatsProcess, running_nats


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    """Run a nats-server for the whole session."""
    folder: Path = tmp_path_factory.mktemp("nats")
    with running_nats(folder) as server:
        yield server


@pytest.fixture
def nats_settings(nats_server: NatsProcess, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings for a stream of its own, which is asked for more often than usual."""
    monkeypatch.setattr(aionotify.broker.nats.follower, "SILENCE", 0.05)
    return Settings(
        nats_url=SERVERS.parse(nats_server.url),
        nats_stream=f"test-{secrets.token_hex(8)}",
        nats_replicas=1,
    )
