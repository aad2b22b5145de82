"""Generated files are up to date, and agree with `--help` and with the server."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

from aionotify.settings import Settings, options, read_settings
from tests.generate import generated
from tests.generate.settings import EXAMPLE, README, TABLE, table
from tests.support import ROOT

HINT = "run: python -m tests.generate"


@pytest.fixture(scope="module")
def printed() -> str:
    """Return what `--help` prints, on a narrow terminal."""
    command = [sys.executable, "-m", "aionotify", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    return result.stdout


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generated()[path], HINT


def test_settings_table_is_up_to_date() -> None:
    """The document has the table, so that the generator could replace it."""
    found = TABLE.search(README.read_text(encoding="utf-8"))
    assert found
    assert found[0] == table(), HINT


def test_env_example_has_defaults(tmp_path: Path) -> None:
    """Without the comment signs, it names every variable and changes nothing."""
    text = re.sub(r"^#(?=[A-Z_]+=)", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    path = tmp_path / ".env"
    path.write_text(text, encoding="utf-8")
    secrets = [each.file_variable for each in options() if each.secret]
    names = [each.variable for each in options()] + secrets
    assert sorted(dotenv_values(path)) == sorted(names)
    settings, hints = read_settings({}, path, {})
    assert settings == Settings()
    assert [each.partition(" is empty")[0] for each in hints] == [
        name for each in options() if each.secret for name in (each.variable, each.file_variable)
    ]


def test_help_lists_settings_with_defaults(printed: str) -> None:
    flat = " ".join(printed.split())
    for each in options():
        shown = (each.unset or f"default {each.default}").replace("`", "")
        names = f"{each.variable}, {each.file_variable}" if each.secret else each.variable
        assert f"{names} ({shown}) {each.help.replace('`', '')}" in flat


def test_help_is_grouped(printed: str) -> None:
    titles = re.findall(r"^([A-Z][a-z ]+):$", printed, re.MULTILINE)
    assert titles == [
        "Listening",
        "Recent notifications",
        "Limits",
        "Timeouts",
        "Access",
        "Several nodes",
        "Logging",
    ]


def test_help_fits_terminal(printed: str) -> None:
    assert max(map(len, printed.splitlines())) <= 80
