"""`python -m aionotify token`: tokens for development, and why one is refused."""

import io
import re
import time
from pathlib import Path
from typing import Any

import pytest

from aionotify.__main__ import main
from tests.support.jwts import KEYS, P256_KEY, SECRET, private_pem, public_pem, token

URL = "http://127.0.0.1:1/jwks.json"


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a secret; work in an empty folder, without the `.env` of a developer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIONOTIFY_JWT_SECRET", SECRET)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command, and return its exit status, standard output and standard error."""
    status = main(["token", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the token that the command prints."""
    status, printed, complaint = run(capsys, *arguments)
    assert (status, complaint) == (0, "")
    return printed.removesuffix("\n")


def test_token_is_made_and_checked(capsys: pytest.CaptureFixture[str]) -> None:
    scope = "subscribe:user.42 subscribe:public.* publish:chat"
    text = made(capsys, "--sub", "42", "--scope", scope, "--expires", "1h")
    status, printed, _ = run(capsys, "--check", text)
    assert status == 0
    assert re.fullmatch(
        r"valid for (59 minutes|1 hour), until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z\n"
        r"sub: '42'\nsubscribe: user\.42 public\.\*\npublish: chat\n",
        printed,
    )


def test_issuer_and_audience_are_those_of_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIONOTIFY_JWT_ISSUER", "https://id.example")
    monkeypatch.setenv("AIONOTIFY_JWT_AUDIENCE", "notify")
    assert run(capsys, "--check", made(capsys, "--sub", "42"))[0] == 0


def test_token_is_read_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it is not in the list of processes."""
    text = made(capsys, "--sub", "42", "--scope", "subscribe:a")
    monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))
    assert "subscribe: a\npublish: nothing\n" in run(capsys, "--check", "-")[1]


@pytest.mark.parametrize("algorithm", KEYS)
def test_private_key_signs(
    algorithm: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "private.pem").write_text(private_pem(KEYS[algorithm]), encoding="utf-8")
    (tmp_path / "public.pem").write_text(public_pem(KEYS[algorithm]), encoding="utf-8")
    monkeypatch.delenv("AIONOTIFY_JWT_SECRET")
    text = made(capsys, "--sub", "42", "--key", "private.pem")
    monkeypatch.setenv("AIONOTIFY_JWT_KEY_FILE", "public.pem")
    assert run(capsys, "--check", text)[0] == 0
    status, printed, complaint = run(capsys, "--sub", "42")
    assert (status, printed) == (2, "")
    assert "nothing to sign with (expected AIONOTIFY_JWT_SECRET, or --key" in complaint


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    # In the middle of a day, because the tests begin minutes after this.
    "expired": ({"exp": int(time.time()) - 2 * 86400 - 43200}, "it expired 2 days ago"),
    "audience": ({"aud": "x"}, 'wrong audience "x" (expected "notify")'),
    "issuer": ({"aud": "notify", "iss": "x"}, 'wrong issuer "x" (expected "https://id.example")'),
    "signature": ({"key": "x" * 32}, "its signature does not match"),
    "alg": ({"key": P256_KEY, "algorithm": "ES256"}, "its alg is not that of the key (HS256)"),
    "no exp": ({"exp": None}, "it has no exp, so it would be valid forever"),
}


@pytest.mark.parametrize(("others", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused_token_is_explained(
    others: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIONOTIFY_JWT_ISSUER", "https://id.example")
    monkeypatch.setenv("AIONOTIFY_JWT_AUDIENCE", "notify")
    text = token(**{"iss": "https://id.example", **others})
    assert run(capsys, "--check", text) == (1, f"refused: {reason}\n", "")


def test_leeway_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = token(exp=int(time.time()) - 2)
    assert run(capsys, "--check", text)[1].startswith("valid in its leeway, until ")


def test_unreachable_key_set_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIONOTIFY_JWT_SECRET")
    monkeypatch.setenv("AIONOTIFY_JWT_JWKS", URL)
    monkeypatch.setenv("AIONOTIFY_JWT_ISSUER", "i")
    monkeypatch.setenv("AIONOTIFY_JWT_AUDIENCE", "a")
    status, printed, _ = run(capsys, "--check", token())
    assert (status, printed) == (
        1,
        "refused: The keys for tokens cannot be fetched. Please try again later.\n",
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--sub is missing (expected --sub with --scope, or --check)"),
        (["--sub", "42", "--expires", "1y"], "--expires: invalid value '1y' (expected 90s, 15m, "),
        (["--sub", "42", "--key", "nowhere"], "--key: 'nowhere' cannot be used (expected a PEM "),
        (["--check", "x", "--env-file", "nowhere"], "--env-file: 'nowhere' is not a file"),
    ],
)
def test_usage_error_is_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed, told = run(capsys, *arguments)
    assert (status, printed) == (2, "")
    assert told.startswith(f"aionotify token: {complaint}")
    assert len(told.splitlines()) == 1


def test_check_needs_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIONOTIFY_JWT_SECRET")
    status, _, complaint = run(capsys, "--check", "x")
    assert status == 2
    assert complaint.startswith("aionotify token: no key is set (expected AIONOTIFY_JWT_SECRET, ")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800)]
)
def test_length_of_validity(text: str, seconds: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = int(time.time())
    printed = made(capsys, "--sub", "42", "--expires", text)
    import jwt

    claims = jwt.decode(printed, SECRET, ["HS256"])
    assert 0 <= claims["exp"] - seconds - before <= 2
    assert claims["exp"] - claims["iat"] == seconds
