"""The options of nats-py's client."""

import base64
import logging
from pathlib import Path
from typing import Any

import nats.errors
import nkeys  # type: ignore[import-untyped]
import pytest

from aionotify.broker.nats.options import _is_no_eof, login, options, tls_context
from aionotify.net import Address
from aionotify.settings import Settings
from aionotify.settings.nats import NatsServers
from tests.support.nats_logins import credentials, new_key
from tests.support.paths import ROOT


def test_client_never_gives_up_and_keeps_nothing() -> None:
    found = options(NatsServers((Address("a", 1),), False), Settings())
    assert found["servers"] == ["nats://a:1"]
    assert found["max_reconnect_attempts"] == found["pending_size"] == -1


def login_with(path: Path, text: str) -> dict[str, Any]:
    """Return the arguments for a file with `text`."""
    path.write_text(text, encoding="utf-8")
    return login(NatsServers((Address("a", 1),), False), Settings(nats_credentials_file=path))


def test_seed_logs_in(tmp_path: Path) -> None:
    user = new_key()
    assert login_with(tmp_path / "a", f" {user.seed}\n") == {"nkeys_seed_str": user.seed}


def test_credentials_are_read_for_each_attempt(tmp_path: Path) -> None:
    """A JWT expires, and the file has a new one by then."""
    account, first, second = new_key(nkeys.PREFIX_BYTE_ACCOUNT), new_key(), new_key()
    path = tmp_path / "a"
    found = login_with(path, credentials(account, first))
    for user in (first, second):
        text = credentials(account, user)
        path.write_text(text, encoding="utf-8")
        assert found["user_jwt_cb"]().decode() == text.splitlines()[1]
        assert base64.b64decode(found["signature_cb"]("nonce")) == user.sign(b"nonce")


@pytest.mark.parametrize("text", ["", "neither"])
def test_file_that_was_damaged_later_is_an_error_of_nats(text: str, tmp_path: Path) -> None:
    """nats-py alone would read beyond its end, forever."""
    path = tmp_path / "a"
    found = login_with(path, credentials(new_key(nkeys.PREFIX_BYTE_ACCOUNT), new_key()))
    path.write_text(text, encoding="utf-8")
    for call in (found["user_jwt_cb"], lambda: found["signature_cb"]("nonce")):
        with pytest.raises(nats.errors.Error, match=r"a has no nkey seed of a user$"):
            call()


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
