"""The `.env` file: a line that cannot be understood ends the start, unseen."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.errors import SettingsError
from aionotify.settings import read_settings
from aionotify.settings.env_file import read_env_file

TOKEN = "token-0123456789-token"

LOST = {
    "open quote": f'AIONOTIFY_ADMIN_TOKEN="{TOKEN}',
    "open single quote": f"AIONOTIFY_ADMIN_TOKEN='{TOKEN}",
    "quote inside": f'AIONOTIFY_ADMIN_TOKEN="{TOKEN}"{TOKEN}"',
    "text behind a quote": f'AIONOTIFY_ADMIN_TOKEN="{TOKEN}" {TOKEN}',
    "YAML": f"AIONOTIFY_ADMIN_TOKEN: {TOKEN}",
    "YAML list": f"- AIONOTIFY_ADMIN_TOKEN={TOKEN}",
    "JSON": f'"AIONOTIFY_ADMIN_TOKEN": "{TOKEN}",',
    "quoted name": f'"AIONOTIFY_ADMIN_TOKEN"={TOKEN}',
    "colon": f"AIONOTIFY_ADMIN_TOKEN:{TOKEN}",
    "no equals sign": f"AIONOTIFY_ADMIN_TOKEN {TOKEN}",
    "name alone": "AIONOTIFY_ADMIN_TOKEN",
    "PowerShell": f'$env:AIONOTIFY_ADMIN_TOKEN="{TOKEN}"',
    "cmd": f"set AIONOTIFY_ADMIN_TOKEN={TOKEN}",
    "swallowed": f'OTHER="open\nAIONOTIFY_ADMIN_TOKEN={TOKEN}\nLAST="',
}
"""Lines with which the token would be lost, and the server open to everyone."""


@pytest.mark.parametrize("case", LOST)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lost_setting_ends_start(case: str, newline: str, folder: Path) -> None:
    """The error has the file and the line, and never the value."""
    text = f"# a comment\nAIONOTIFY_PORT=1\n\n{LOST[case]}\nAIONOTIFY_HEARTBEAT=2\n"
    (folder / ".env").write_bytes(text.replace("\n", newline).encode())
    with pytest.raises(SettingsError) as caught:
        read_settings({}, None, {"HOME": "/"})
    assert str(caught.value) == (
        ".env, line 4: cannot be parsed (expected NAME=value, with both quotes or none)"
    )


def test_named_file_is_in_the_error(folder: Path) -> None:
    file = folder / "production.env"
    file.write_text(f"AIONOTIFY_ADMIN_TOKEN: {TOKEN}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_env_file(file)
    assert str(caught.value).startswith(f"{file}, line 1: cannot be parsed")


def test_ordinary_lines_are_read(folder: Path) -> None:
    """Including those that other programs keep in the same file."""
    (folder / ".env").write_text(
        "\ufeffexport A=1\n\n  B = 'two' # comment\nC=\nOTHER\nKEY=\"line\nB=line\n\"\n"
        f"AIONOTIFY_ADMIN_TOKEN={TOKEN}#=\"'\n",
        encoding="utf-8",
    )
    assert read_env_file(None) == {
        "A": "1",
        "B": "two",
        "C": "",
        "OTHER": None,
        "KEY": "line\nB=line\n",
        "AIONOTIFY_ADMIN_TOKEN": f"{TOKEN}#=\"'",
    }


def test_byte_order_mark_hides_nothing(folder: Path) -> None:
    """As Windows Notepad writes it; python-dotenv before 1.2.3 lost the first variable to it."""
    text = f"\ufeffAIONOTIFY_ADMIN_TOKEN={TOKEN}\n"
    (folder / ".env").write_text(text, encoding="utf-8")
    assert read_settings({}, None, {"HOME": "/"})[0].admin_tokens == (TOKEN,)


def test_missing_file_is_empty() -> None:
    assert read_env_file(None) == {}


def test_directory_ends_start(folder: Path) -> None:
    """Docker creates one for a bind mount whose source is missing."""
    (folder / ".env").mkdir()
    with pytest.raises(SettingsError) as caught:
        read_env_file(None)
    assert str(caught.value) == "'.env' is not a file"


def test_utf_16_ends_start(folder: Path) -> None:
    """As `>` of Windows PowerShell writes it."""
    (folder / ".env").write_text(f"AIONOTIFY_ADMIN_TOKEN={TOKEN}\n", encoding="utf-16")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read: invalid start byte$"):
        read_env_file(None)


@given(value=st.text("\"'`\\ #=:${}ab\n", max_size=12), quote=st.sampled_from(["", "'", '"']))
def test_value_is_read_or_rejected_unseen(value: str, quote: str) -> None:
    """A line that assigns a token is an error, or it is the token that the server uses."""
    file = Path(".env")
    file.write_text(f"AIONOTIFY_USER_TOKEN={quote}{TOKEN}{value}{quote}\n", encoding="utf-8")
    try:
        found = read_env_file(None)["AIONOTIFY_USER_TOKEN"] or ""
    except SettingsError as error:
        message, found = str(error), TOKEN
    else:
        message = ""
    assert found.startswith(TOKEN)
    assert TOKEN not in message
