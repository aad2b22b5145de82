"""A node and a real nats-server with TLS, nkeys and JWTs."""

import shutil
from pathlib import Path

import nkeys  # type: ignore[import-untyped]
import pytest

from tests.support import ServerProcess, eventually, running_server
from tests.support.cluster import is_current, publish
from tests.support.nats import NatsProcess, running_nats
from tests.support.nats_logins import credentials, new_key, operator_mode
from tests.support.tls import PEM, write_other_pem

UNAVAILABLE = "NATS is unavailable ("


def tls(pem: Path) -> str:
    """Return the configuration of a server with TLS."""
    return f'tls {{ cert_file: "{pem}", key_file: "{pem}" }}'


def environment(nats: NatsProcess, scheme: str = "nats", **more: str) -> dict[str, str]:
    """Return the environment of a node."""
    url = nats.url.replace("nats://", f"{scheme}://")
    return {"AIONOTIFY_NATS_URL": url, "AIONOTIFY_NATS_REPLICAS": "1", **more}


def reasons(node: ServerProcess) -> list[str]:
    """Return the lines of the log that call NATS unavailable."""
    return [line for line in node.output().splitlines() if UNAVAILABLE in line]


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_tls_with_an_authority_of_ones_own(scheme: str, tmp_path: Path) -> None:
    """The port of NATS speaks TLS if the server asks for it, with either URL."""
    with running_nats(tmp_path, tls(PEM)) as nats:
        async with running_server(
            environment(nats, scheme, AIONOTIFY_NATS_CA_FILE=str(PEM))
        ) as node:
            assert await is_current(node), node.output()
            await publish(node, "x")
            nats.kill()
            nats.start()
            await eventually(lambda: "reconnected to NATS" in node.output(), 10)
            await publish(node, "y")
            assert "eof_received" not in node.output()


async def test_wrong_authority_is_named_until_the_certificate_is_replaced(tmp_path: Path) -> None:
    """In one line. nats-py alone would hang after the first handshake that fails."""
    pem = tmp_path / "server.pem"
    write_other_pem(pem)
    with running_nats(tmp_path, tls(pem)) as nats:
        async with running_server(
            environment(nats, "tls", AIONOTIFY_NATS_CA_FILE=str(PEM))
        ) as node:
            (line,) = reasons(node)
            assert "certificate verify failed" in line
            nats.kill()
            shutil.copy(PEM, pem)
            nats.start()
            await eventually(lambda: is_current(node), 10)
            assert len(reasons(node)) == 1


async def test_tls_is_not_given_up(tmp_path: Path) -> None:
    """Anybody on the way could claim that the server has none, and would get the password."""
    with running_nats(tmp_path, "authorization { user: u, password: secret }") as nats:
        found = environment(nats, "tls", AIONOTIFY_NATS_CA_FILE=str(PEM))
        found["AIONOTIFY_NATS_URL"] = found["AIONOTIFY_NATS_URL"].replace("//", "//u:secret@")
        async with running_server(found) as node:
            (line,) = reasons(node)
            assert f"{UNAVAILABLE}the server does not require TLS)" in line


async def test_nkey_logs_in(tmp_path: Path) -> None:
    user = new_key()
    path = tmp_path / "user.nk"
    path.write_text(f"{user.seed}\n")
    with running_nats(tmp_path, f"authorization {{ users: [{{ nkey: {user.public} }}] }}") as nats:
        known = environment(nats, AIONOTIFY_NATS_CREDENTIALS_FILE=str(path))
        async with running_server(known) as node:
            assert await is_current(node), node.output()
            await publish(node, "x")
            assert user.seed not in node.output()
        path.write_text(new_key().seed)
        async with running_server(known) as node:
            (line,) = reasons(node)
            assert "Authorization Violation" in line


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_credentials_file_logs_in(newline: str, tmp_path: Path) -> None:
    """As `nsc` writes it, also if it went through Windows, and if it is replaced meanwhile."""
    account, path = new_key(nkeys.PREFIX_BYTE_ACCOUNT), tmp_path / "user.creds"
    stranger = new_key(nkeys.PREFIX_BYTE_ACCOUNT)
    path.write_text(credentials(stranger, new_key()), newline=newline)
    with running_nats(tmp_path, operator_mode(account)) as nats:
        async with running_server(
            environment(nats, AIONOTIFY_NATS_CREDENTIALS_FILE=str(path))
        ) as node:
            (line,) = reasons(node)
            assert "Authorization Violation" in line
            path.write_text(credentials(account, new_key()), newline=newline)
            await eventually(lambda: is_current(node), 10)
            await publish(node, "x")
            assert "SEED" not in node.output()
