"""Hints about unknown settings, and about the deprecated name of one."""

from pathlib import Path

import pytest

from aionotify.errors import SettingsError
from aionotify.settings import Settings, read_settings

RENAMED = "AIONOTIFY_LOG_LIMIT is now called AIONOTIFY_HISTORY_LIMIT; please rename it"


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("AIONOTIFY_PROT", "; did you mean AIONOTIFY_PORT?"),
        ("AIONOTIFY_RECENTS_LIMIT", "; did you mean AIONOTIFY_RECENT_LIMIT?"),
        ("AIONOTIFY_port", "; did you mean AIONOTIFY_PORT?"),
        ("aionotify_admin_token", "; did you mean AIONOTIFY_ADMIN_TOKEN?"),
        ("AIONOTIFY_LOG_LIMT", "; did you mean AIONOTIFY_HISTORY_LIMIT?"),
        ("AIONOTIFY_QQQQQQQQQQQQQQQQQQQQQQQQQQQ", ""),
    ],
)
def test_unknown_setting_gives_hint(variable: str, hint: str, folder: Path) -> None:
    wanted = [f"unknown setting {variable} is ignored{hint}"]
    assert read_settings({}, None, {variable: "1"})[1] == wanted
    (folder / ".env").write_text(f"{variable}=1\n", encoding="utf-8")
    assert read_settings({}, None, {"HOME": "/"})[1] == wanted


def test_other_variables_give_no_hint() -> None:
    environ = {"PATH": "/bin", "AIO_NOTIFY": "1", "MEMCACHED_HOST": "a", "AIONOTIFY": "1"}
    assert read_settings({}, None, environ)[1] == []


@pytest.mark.parametrize("source", ["environment", "file"])
def test_log_limit_is_deprecated_alias(source: str, folder: Path) -> None:
    environ = {"HOME": "/"}
    if source == "file":
        (folder / ".env").write_text("AIONOTIFY_LOG_LIMIT=7\n", encoding="utf-8")
    else:
        environ["AIONOTIFY_LOG_LIMIT"] = "7"
    settings, hints = read_settings({}, None, environ)
    assert settings == Settings(history_limit=7)
    assert hints == [RENAMED]


@pytest.mark.parametrize("old", ["7", "invalid"])
def test_new_name_beats_deprecated_alias(old: str, folder: Path) -> None:
    """Even in the file, while the environment has the old name."""
    both = {"AIONOTIFY_LOG_LIMIT": old, "AIONOTIFY_HISTORY_LIMIT": "8"}
    assert read_settings({}, None, both) == (Settings(history_limit=8), [RENAMED])
    (folder / ".env").write_text("AIONOTIFY_HISTORY_LIMIT=9\n", encoding="utf-8")
    environ = {"AIONOTIFY_LOG_LIMIT": old}
    assert read_settings({}, None, environ) == (Settings(history_limit=9), [RENAMED])


def test_deprecated_alias_is_named_in_error() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({}, None, {"AIONOTIFY_LOG_LIMIT": "0"})
    assert str(caught.value) == (
        "AIONOTIFY_LOG_LIMIT: invalid value '0' (expected a whole number from 1 to 1000000)"
    )


def test_empty_deprecated_alias_gives_no_hint() -> None:
    assert read_settings({}, None, {"AIONOTIFY_LOG_LIMIT": " "}) == (Settings(), [])


def empty(variable: str) -> str:
    """Return the hint about an empty secret."""
    return f"{variable} is empty, which counts as unset: no token is required"


@pytest.mark.parametrize("variable", ["AIONOTIFY_ADMIN_TOKEN", "AIONOTIFY_USER_TOKEN_FILE"])
@pytest.mark.parametrize("text", ["", " "])
def test_empty_secret_gives_hint(variable: str, text: str, folder: Path) -> None:
    """A forgotten value leaves the server open, and looks as if it were protected."""
    assert read_settings({}, None, {variable: text}) == (Settings(), [empty(variable)])
    (folder / ".env").write_text(f"{variable}={text}\n", encoding="utf-8")
    assert read_settings({}, None, {"HOME": "/"}) == (Settings(), [empty(variable)])


def test_secret_from_elsewhere_gives_no_hint(folder: Path) -> None:
    """Compose sets an empty variable for one that is missing, and the file may have the value."""
    token = "token-0123456789"
    (folder / "token").write_text(token, encoding="utf-8")
    file = {"AIONOTIFY_ADMIN_TOKEN": "", "AIONOTIFY_ADMIN_TOKEN_FILE": str(folder / "token")}
    assert read_settings({}, None, file) == (Settings(admin_tokens=(token,)), [])
    (folder / ".env").write_text(f"AIONOTIFY_ADMIN_TOKEN={token}\n", encoding="utf-8")
    environ = {"AIONOTIFY_ADMIN_TOKEN": ""}
    assert read_settings({}, None, environ) == (Settings(admin_tokens=(token,)), [])
