"""The settings of JWTs: keys of every kind, and what excludes or needs what."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa

from aionotify.errors import SettingsError
from aionotify.settings import Settings, read_settings
from aionotify.settings.jwt import PublicKey
from tests.support.access import ADMIN
from tests.support.jwts import KEYS, OLD_SECRET, RSA_KEY, SECRET, private_pem, public_pem
from tests.support.paths import ROOT

JWKS = "https://id.example/jwks.json"
FULL = {"AIONOTIFY_JWT_ISSUER": "https://id.example", "AIONOTIFY_JWT_AUDIENCE": "notify"}
EXPECTED_SECRET = (
    "a secret of 32 or more ASCII characters without spaces and commas, "
    "or several separated by commas"
)
EXPECTED_FILE = "a PEM file with a public key: RSA of 2048 bits or more, P-256 or Ed25519"


def read(**environ: str) -> Settings:
    """Return the settings from AIONOTIFY_JWT_* variables; names come without the prefix."""
    named = {f"AIONOTIFY_{name}": value for name, value in environ.items()}
    return read_settings({}, None, {"HOME": "/", **named})[0]


def problem(**environ: str) -> str:
    """Return the line that rejects settings."""
    with pytest.raises(SettingsError) as rejected:
        read(**environ)
    return str(rejected.value)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without the `.env` of a developer."""
    monkeypatch.chdir(tmp_path)


def test_nothing_is_set_by_default() -> None:
    assert not read().accepts_jwts


def test_secrets_are_read() -> None:
    settings = read(JWT_SECRET=f"{SECRET}, {OLD_SECRET}")
    assert settings.jwt_secrets == (SECRET, OLD_SECRET)
    assert settings.accepts_jwts
    assert SECRET not in repr(settings)


def test_secret_is_read_from_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n", encoding="utf-8")
    assert read(JWT_SECRET_FILE=str(tmp_path / "secret")).jwt_secrets == (SECRET,)


@pytest.mark.parametrize(
    "text", ["x" * 31, f"{SECRET},short", SECRET + "é", f"{SECRET},", "a b" * 32]
)
def test_weak_secret_is_rejected_and_not_shown(text: str) -> None:
    line = problem(JWT_SECRET=text)
    assert line == f"AIONOTIFY_JWT_SECRET: invalid value, not shown (expected {EXPECTED_SECRET})"


@pytest.mark.parametrize("algorithm", KEYS)
def test_public_key_chooses_its_algorithm(algorithm: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(public_pem(KEYS[algorithm]), encoding="utf-8")
    settings = read(JWT_KEY_FILE=str(path))
    assert settings.jwt_public_key == PublicKey(algorithm, public_pem(KEYS[algorithm]))
    assert settings.accepts_jwts


BAD_FILES: dict[str, Any] = {
    "private": private_pem(RSA_KEY),
    "short RSA": public_pem(rsa.generate_private_key(65537, 1024)),
    "P-384": public_pem(ec.generate_private_key(ec.SECP384R1())),
    "secp256k1": public_pem(ec.generate_private_key(ec.SECP256K1())),
    "Ed448": public_pem(ed448.Ed448PrivateKey.generate()),
    "DSA": public_pem(dsa.generate_private_key(1024)),
    "cut off": public_pem(RSA_KEY)[:100],
    "empty": "",
    "secret": SECRET,
}


@pytest.mark.parametrize("text", BAD_FILES.values(), ids=BAD_FILES)
def test_unusable_key_file_is_rejected(text: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(text, encoding="utf-8")
    line = problem(JWT_KEY_FILE=str(path))
    shown = str(path) if len(str(path)) <= 100 else str(path)[:100] + "…"
    assert line == f"AIONOTIFY_JWT_KEY_FILE: invalid value {shown!r} (expected {EXPECTED_FILE})"


@pytest.mark.parametrize("path", ["nowhere.pem", "/", "\0"])
def test_missing_key_file_is_rejected(path: str) -> None:
    assert f"invalid value {path!r} (expected {EXPECTED_FILE})" in problem(JWT_KEY_FILE=path)


@pytest.mark.parametrize("url", [JWKS, "http://localhost:8080/jwks", "http://[::1]/jwks"])
def test_key_set_is_a_safe_url(url: str) -> None:
    settings = read(JWT_JWKS=url, JWT_ISSUER="i", JWT_AUDIENCE="a")
    assert (settings.jwt_jwks, settings.accepts_jwts) == (url, True)


@pytest.mark.parametrize(
    "url", ["http://id.example/jwks", "file:///jwks", "id.example", "https://"]
)
def test_unsafe_url_is_rejected(url: str) -> None:
    assert problem(JWT_JWKS=url, JWT_ISSUER="i", JWT_AUDIENCE="a") == (
        f"AIONOTIFY_JWT_JWKS: invalid value {url!r} "
        "(expected an https URL, or an http URL of this machine)"
    )


def test_keys_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(public_pem(RSA_KEY), encoding="utf-8")
    assert problem(JWT_SECRET=SECRET, JWT_KEY_FILE=str(path)) == (
        "AIONOTIFY_JWT_SECRET and AIONOTIFY_JWT_KEY_FILE are both set (expected one of them)"
    )
    assert "AIONOTIFY_JWT_SECRET and AIONOTIFY_JWT_JWKS are both set" in problem(
        JWT_SECRET=SECRET, JWT_JWKS=JWKS, JWT_ISSUER="i", JWT_AUDIENCE="a"
    )


@pytest.mark.parametrize("name", ["JWT_ISSUER", "JWT_AUDIENCE"])
def test_claim_without_key_is_rejected(name: str) -> None:
    """Its author wants a closed server, and without a key it would be open."""
    assert problem(**{name: "x"}) == (
        f"AIONOTIFY_{name} is set without a key (expected one of AIONOTIFY_JWT_SECRET, "
        "AIONOTIFY_JWT_KEY_FILE, AIONOTIFY_JWT_JWKS)"
    )


@pytest.mark.parametrize(
    ("given", "missing"),
    [({}, "ISSUER"), ({"JWT_ISSUER": "i"}, "AUDIENCE"), ({"JWT_AUDIENCE": "a"}, "ISSUER")],
)
def test_key_set_needs_issuer_and_audience(given: dict[str, str], missing: str) -> None:
    line = problem(JWT_JWKS=JWKS, **given)
    assert line.startswith(f"AIONOTIFY_JWT_JWKS is set without AIONOTIFY_JWT_{missing} (expected ")


@pytest.mark.parametrize("name", ["ADMIN", "USER"])
def test_secret_is_no_token(name: str) -> None:
    line = problem(JWT_SECRET=f"{OLD_SECRET},{SECRET}", **{f"{name}_TOKEN": f"{ADMIN},{SECRET}"})
    assert line.startswith(f"AIONOTIFY_JWT_SECRET and AIONOTIFY_{name}_TOKEN: the same value, not ")
    assert SECRET not in line


BLOCKED = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # any import of it raises ImportError
from aionotify.__main__ import main
sys.exit(main([]))
"""


@pytest.mark.parametrize("missing", ["jwt", "cryptography"])
def test_missing_library_is_one_line(missing: str, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(public_pem(RSA_KEY), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-c", BLOCKED, missing],
        env={"PYTHONPATH": str(ROOT), "AIONOTIFY_JWT_KEY_FILE": str(tmp_path / "key.pem")},
        capture_output=True,
        encoding="utf-8",
        timeout=15,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "aionotify: AIONOTIFY_JWT_KEY_FILE: PyJWT or cryptography is not installed "
        "(expected after: pip install 'PyJWT[crypto]')\n"
    )


def test_library_is_not_imported_without_settings() -> None:
    code = (
        "import sys; from aionotify import create_app, Settings; create_app(Settings()); "
        "sys.exit('jwt' in sys.modules or 'cryptography' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=True)
