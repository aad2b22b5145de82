"""Secrets among the settings: read from variables or files, and never shown."""

from pathlib import Path

import pytest

from aionotify.errors import SettingsError
from aionotify.settings import Settings, read_settings
from aionotify.settings.parsers import TOKENS

ADMIN, OLD_ADMIN, USER = "admin-0123456789", "retired-admin-0123", "user-0123456789a"
SHORT = "fifteen-charact"


def read(environ: dict[str, str]) -> Settings:
    """Return the settings from `environ`."""
    return read_settings({}, None, environ)[0]


@pytest.mark.parametrize("kind", ["ADMIN", "USER"])
def test_tokens_are_read_from_environment_or_file(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{ADMIN},\t{OLD_ADMIN}\n", encoding="utf-8")
    from_environment = read({f"AIONOTIFY_{kind}_TOKEN": f" {ADMIN}, {OLD_ADMIN} "})
    from_file = read({f"AIONOTIFY_{kind}_TOKEN_FILE": str(file)})
    expected = {"ADMIN": ((ADMIN, OLD_ADMIN), ()), "USER": ((), (ADMIN, OLD_ADMIN))}[kind]
    for settings in (from_environment, from_file):
        assert (settings.admin_tokens, settings.user_tokens) == expected
        assert ADMIN not in repr(settings)
        assert OLD_ADMIN not in f"{settings}"


@pytest.mark.parametrize(
    "text", [SHORT, f"{ADMIN},{SHORT}", f"{ADMIN},", f"{ADMIN}\n{SHORT}", f"{SHORT} x", f"{SHORT}é"]
)
def test_invalid_token_is_rejected_unseen(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="AIONOTIFY_ADMIN_TOKEN: ") as refused:
        read({"AIONOTIFY_ADMIN_TOKEN": text})
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="AIONOTIFY_USER_TOKEN_FILE: ") as in_file:
        read({"AIONOTIFY_USER_TOKEN_FILE": str(file)})
    for error in (refused, in_file):
        line = str(error.value)
        assert "\n" not in line
        assert line.endswith(f": invalid value, not shown (expected {TOKENS.expected})")
        assert "16 or more" in line
        assert "fifteen" not in line
        assert ADMIN not in line


def test_unreadable_token_file_is_rejected(tmp_path: Path) -> None:
    empty, binary, missing = tmp_path / "empty", tmp_path / "binary", tmp_path / "missing"
    empty.write_bytes(b"")
    binary.write_bytes(b"\xff" * 20)
    for file, problem in {
        empty: "invalid value, not shown",
        binary: "UTF-8|utf-8|start byte",
    }.items():
        with pytest.raises(SettingsError, match=problem) as refused:
            read({"AIONOTIFY_ADMIN_TOKEN_FILE": str(file)})
        assert "0xff" not in str(refused.value)
    for path in (missing, tmp_path):
        with pytest.raises(SettingsError, match=r"AIONOTIFY_ADMIN_TOKEN_FILE: .* is not a file"):
            read({"AIONOTIFY_ADMIN_TOKEN_FILE": str(path)})


def test_token_and_token_file_conflict(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(USER, encoding="utf-8")
    with pytest.raises(SettingsError, match="are both set") as refused:
        read({"AIONOTIFY_ADMIN_TOKEN": ADMIN, "AIONOTIFY_ADMIN_TOKEN_FILE": str(file)})
    assert ADMIN not in str(refused.value)


def test_hint_hides_value() -> None:
    _, hints = read_settings({}, None, {"AIONOTIFY_ADMIN_TOKENS": ADMIN})
    assert hints == [
        "unknown setting AIONOTIFY_ADMIN_TOKENS is ignored; did you mean AIONOTIFY_ADMIN_TOKEN?"
    ]


def test_token_of_both_kinds_is_rejected_unseen() -> None:
    """With it, every user could publish."""
    environ = {
        "AIONOTIFY_ADMIN_TOKEN": f"{OLD_ADMIN},{ADMIN}",
        "AIONOTIFY_USER_TOKEN": f"{ADMIN},{USER}",
    }
    with pytest.raises(SettingsError) as caught:
        read(environ)
    assert str(caught.value) == (
        "AIONOTIFY_ADMIN_TOKEN and AIONOTIFY_USER_TOKEN: the same token, not shown, is in both "
        "(expected different ones: every user could publish)"
    )
