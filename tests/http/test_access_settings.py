"""Settings of access control. These cases belong to the tests of `settings` and `net`."""

from pathlib import Path

import pytest

from aionotify.errors import SettingsError
from aionotify.net import is_loopback
from aionotify.settings import Settings, read_settings
from tests.support.access import ADMIN, OLD_ADMIN, USER


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("example.com", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def read(**environment: str) -> Settings:
    """The settings of an environment."""
    return read_settings({}, None, environment)[0]


@pytest.mark.parametrize("kind", ["ADMIN", "USER"])
def test_tokens_come_from_the_environment_or_a_file(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{ADMIN},\t{OLD_ADMIN}\n", encoding="utf-8")
    from_environment = read(**{f"AIONOTIFY_{kind}_TOKEN": f" {ADMIN}, {OLD_ADMIN} "})
    from_file = read(**{f"AIONOTIFY_{kind}_TOKEN_FILE": str(file)})
    expected = {"ADMIN": ((ADMIN, OLD_ADMIN), ()), "USER": ((), (ADMIN, OLD_ADMIN))}[kind]
    for settings in (from_environment, from_file):
        assert (settings.admin_tokens, settings.user_tokens) == expected
        assert ADMIN not in repr(settings)
        assert OLD_ADMIN not in f"{settings}"


SHORT = "fifteen-charact"


@pytest.mark.parametrize(
    "text", [SHORT, f"{ADMIN},{SHORT}", f"{ADMIN},", f"{ADMIN}\n{SHORT}", f"{SHORT} x", f"{SHORT}é"]
)
def test_a_token_that_is_none_is_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="AIONOTIFY_ADMIN_TOKEN: ") as refused:
        read(AIONOTIFY_ADMIN_TOKEN=text)
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="AIONOTIFY_USER_TOKEN_FILE: ") as in_file:
        read(AIONOTIFY_USER_TOKEN_FILE=str(file))
    for error in (refused, in_file):
        line = str(error.value)
        assert "\n" not in line
        assert "16 or more" in line
        assert "fifteen" not in line
        assert ADMIN not in line


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    empty, binary, missing = tmp_path / "empty", tmp_path / "binary", tmp_path / "missing"
    empty.write_bytes(b"")
    binary.write_bytes(b"\xff" * 20)
    for file, problem in {empty: "not accepted", binary: "UTF-8|utf-8|start byte"}.items():
        with pytest.raises(SettingsError, match=problem):
            read(AIONOTIFY_ADMIN_TOKEN_FILE=str(file))
    for path in (missing, tmp_path):
        with pytest.raises(SettingsError, match=r"AIONOTIFY_ADMIN_TOKEN_FILE: .* is not a file"):
            read(AIONOTIFY_ADMIN_TOKEN_FILE=str(path))


def test_a_token_and_its_file_are_one_too_many(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(USER, encoding="utf-8")
    with pytest.raises(SettingsError, match="are both set") as refused:
        read(AIONOTIFY_ADMIN_TOKEN=ADMIN, AIONOTIFY_ADMIN_TOKEN_FILE=str(file))
    assert ADMIN not in str(refused.value)


def test_a_misspelt_name_is_told_without_its_value() -> None:
    _, hints = read_settings({}, None, {"AIONOTIFY_ADMIN_TOKENS": ADMIN})
    assert hints == [
        "AIONOTIFY_ADMIN_TOKENS is no setting and does nothing; did you mean AIONOTIFY_ADMIN_TOKEN?"
    ]


def test_which_allowed_origins_are_accepted() -> None:
    text = "https://App.example, http://localhost:3000,*"
    assert read(AIONOTIFY_ALLOWED_ORIGINS=text).allowed_origins == (
        ("https", "app.example", 443),
        ("http", "localhost", 3000),
        "*",
    )
    for text in ("app.example", "https://app.example/", "https://*.example", "null", "http://a b"):
        with pytest.raises(SettingsError, match=r"AIONOTIFY_ALLOWED_ORIGINS: .*example"):
            read(AIONOTIFY_ALLOWED_ORIGINS=text)
