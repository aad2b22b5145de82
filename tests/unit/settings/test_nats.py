"""The settings of NATS."""

import re
import subprocess
import sys
from pathlib import Path

import nkeys  # type: ignore[import-untyped]
import pytest

import aionotify.settings.nats
from aionotify.errors import SettingsError
from aionotify.net import Address
from aionotify.settings import Settings, read_settings
from aionotify.settings.nats import SERVERS, Credentials, NatsServers, read_credentials
from tests.support.nats_logins import credentials, new_key
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("nats://a", NatsServers((Address("a", 4222),), tls=False)),
        ("nats://a:1,b:2/", NatsServers((Address("a", 1), Address("b", 2)), tls=False)),
        ("tls://a, tls://b", NatsServers((Address("a", 4222), Address("b", 4222)), tls=True)),
        (
            "nats://u:p%40%2f@a,b",
            NatsServers((Address("a", 4222), Address("b", 4222)), False, "u", "p@/"),
        ),
        (
            "nats://u:p@a,nats://u:p@b",
            NatsServers((Address("a", 4222), Address("b", 4222)), False, "u", "p"),
        ),
        ("nats://t%3Aken@[::1]:5", NatsServers((Address("::1", 5),), False, None, "t:ken")),
    ],
)
def test_servers(text: str, wanted: NatsServers) -> None:
    assert SERVERS.parse(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "a:4222",
        "http://a",
        "nats://",
        "nats://a/path",
        "nats://a?x",
        "nats://u:@a",
        "nats://a:0",
        "nats://u:secret@a,nats://v:secret@b",
        "nats://a,tls://b",
        "nats://a,,b",
    ],
)
def test_invalid_servers_are_not_shown(text: str, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^AIONOTIFY_NATS_URL: invalid value, not shown \("
    ) as e:
        read_settings({}, None, {"AIONOTIFY_NATS_URL": text})
    assert "secret" not in str(e.value)


def test_urls_have_no_secrets() -> None:
    assert SERVERS.parse("tls://u:secret@a,[::1]:5").urls == ["tls://a:4222", "tls://[::1]:5"]


def test_servers_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("nats://u:secret@a\n")
    settings, hints = read_settings({}, None, {"AIONOTIFY_NATS_URL_FILE": str(path)})
    assert settings.nats_url == NatsServers((Address("a", 4222),), False, "u", "secret")
    assert hints == []
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("AIONOTIFY_NATS_STREAM", "a.b"),
        ("AIONOTIFY_NATS_REPLICAS", "0"),
        ("AIONOTIFY_NATS_CREDENTIALS_FILE", "/missing"),
        ("AIONOTIFY_NATS_CA_FILE", "/dev/null"),
    ],
)
def test_invalid_value_is_named(variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable}: invalid value {text!r} "):
        read_settings({}, None, {variable: text})


def test_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "user.creds"
    path.write_text(new_key().seed)
    authorities = ROOT / "tests" / "support" / "localhost.pem"
    environment = {
        "AIONOTIFY_NATS_CREDENTIALS_FILE": str(path),
        "AIONOTIFY_NATS_CA_FILE": str(authorities),
    }
    settings, _ = read_settings({}, None, environment)
    assert (settings.nats_credentials_file, settings.nats_ca_file) == (path, authorities)


def nearly(seed: str) -> str:
    """Return a seed with a typing error."""
    return seed[:-1] + ("A" if seed[-1] != "A" else "B")


USER, ACCOUNT = new_key(), new_key(nkeys.PREFIX_BYTE_ACCOUNT)
CREDS = credentials(ACCOUNT, USER)


GOOD = {
    "seed": USER.seed,
    "seed of Windows": f"{USER.seed}\r\n",
    "creds": CREDS,
    "creds of Windows": CREDS.replace("\n", "\r\n"),
    "creds without remarks": re.sub(r"\n\n\*.*?(?=-)", "\n", CREDS, flags=re.DOTALL),
}
MALFORMED = {
    "empty": "",
    "prefix": "SU",
    "other text": "neither",
    "no text": "\xff",
    "public key": USER.public,
    "seed of an account": ACCOUNT.seed,
    "mistyped seed": nearly(USER.seed),
    "lower case": USER.seed.lower(),
    "no seed": CREDS.partition("-----BEGIN USER")[0],
    "no JWT": CREDS[CREDS.index("-----BEGIN USER") :],
    "mistyped seed behind a JWT": CREDS.replace(USER.seed, nearly(USER.seed)),
    "seed of an account behind a JWT": CREDS.replace(USER.seed, ACCOUNT.seed),
}


@pytest.mark.parametrize("name", GOOD)
def test_credentials_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(GOOD[name].encode())
    wanted = CREDS.splitlines()[1] if "creds" in name else None
    assert read_credentials(path) == Credentials(USER.seed, wanted)


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_credentials_end_the_start(name: str, tmp_path: Path) -> None:
    """nats-py alone would read a file without a JWT beyond its end, forever."""
    path = tmp_path / "a"
    path.write_text(MALFORMED[name], encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_settings({}, None, {"AIONOTIFY_NATS_CREDENTIALS_FILE": str(path)})
    assert str(caught.value) == (
        f"AIONOTIFY_NATS_CREDENTIALS_FILE: invalid value {str(path)!r} (expected the path of a "
        "readable file with a user's nkey seed or the content of a .creds file)"
    )


def test_missing_nkeys_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aionotify.settings.nats, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"FILE: nkeys .* 'aionotify-server\[cluster\]'"):
        read_settings({}, None, {"AIONOTIFY_NATS_CREDENTIALS_FILE": "a"})


def test_memcached_beside_nats_gives_hint() -> None:
    environment = {"AIONOTIFY_NATS_URL": "nats://a", "MEMCACHED_HOST": "b"}
    _, hints = read_settings({}, None, environment)
    assert hints == ["MEMCACHED_HOST is not used, because AIONOTIFY_NATS_URL is set"]


def test_missing_nats_py_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aionotify.settings.nats, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'aionotify-server\[cluster\]'"):
        read_settings({}, None, {"AIONOTIFY_NATS_URL": "nats://a"})


def test_single_node_imports_nothing_of_it() -> None:
    code = (
        "import sys; from aionotify import create_app; create_app();"
        "print([each for each in sys.modules if each.split('.')[0] == 'nats'"
        " or each.startswith('aionotify.broker.nats')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_default_is_one_node() -> None:
    assert Settings().nats_url is None
