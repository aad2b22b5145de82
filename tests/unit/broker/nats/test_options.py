"""The options of nats-py's client."""

import logging
from pathlib import Path

import pytest

from aionotify.broker.nats.options import _is_no_eof, login, options, tls_context
from aionotify.net import Address
from aionotify.settings import Settings
from aionotify.settings.nats import NatsServers
from tests.support.paths import ROOT


def test_client_never_gives_up_and_keeps_nothing() -> None:
    found = options(NatsServers((Address("a", 1),), False), Settings())
    assert found["servers"] == ["nats://a:1"]
    assert found["max_reconnect_attempts"] == found["pending_size"] == -1


@pytest.mark.parametrize(
    ("content", "option"), [("SUABC", "nkeys_seed"), ("-----BEGIN NATS", "user_credentials")]
)
def test_credentials_are_told_apart(content: str, option: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    servers = NatsServers((Address("a", 1),), False)
    assert login(servers, Settings(nats_credentials_file=path)) == {option: str(path)}


@pytest.mark.parametrize(
    ("user", "password", "wanted"),
    [
        (None, None, {}),
        (None, "t", {"token": "t"}),
        ("u", "p", {"user": "u", "password": "p"}),
    ],
)
def test_login(user: str | None, password: str | None, wanted: dict[str, str]) -> None:
    servers = NatsServers((Address("a", 1),), False, user, password)
    assert login(servers, Settings()) == wanted


def test_tls_drops_one_line_of_asyncio() -> None:
    servers = NatsServers((Address("a", 1),), True)
    assert tls_context(servers, Settings(nats_ca_file=ROOT / "tests/support/localhost.pem"))
    assert tls_context(NatsServers((Address("a", 1),), False), Settings()) is None
    record = logging.makeLogRecord({"msg": "returning true from eof_received() has no effect"})
    logger = logging.getLogger("asyncio")
    assert not logger.filter(record)
    assert logger.filter(logging.makeLogRecord({"msg": "other"}))
    logger.removeFilter(_is_no_eof)
