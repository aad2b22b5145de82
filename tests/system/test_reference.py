"""What people read about the settings is what the code says: --help, README.md, .env.example."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

from aionotify.settings import Settings, options, read_settings
from tests.reference import EXAMPLE, README, TABLE, example, table
from tests.support import ROOT

HINT = "run: python -m tests.reference"


@pytest.fixture(scope="module")
def printed() -> str:
    """What `--help` prints, on a narrow terminal."""
    command = [sys.executable, "-m", "aionotify", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    return result.stdout


def test_the_table_in_the_readme() -> None:
    found = TABLE.search(README.read_text(encoding="utf-8"))
    assert found
    assert found[0] == table(), HINT


def test_the_example_file() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == example(), HINT


def test_the_example_file_changes_nothing_without_its_signs_of_a_comment(tmp_path: Path) -> None:
    text = re.sub(r"^#(?=[A-Z_]+=)", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    path = tmp_path / ".env"
    path.write_text(text, encoding="utf-8")
    secrets = [each.file_variable for each in options() if each.secret]
    names = [each.variable for each in options()] + secrets
    assert sorted(dotenv_values(path)) == sorted(names)
    assert read_settings({}, path, {}) == (Settings(), [])


def test_the_help_names_every_setting_with_its_default(printed: str) -> None:
    flat = " ".join(printed.split())
    for each in options():
        shown = (each.unset or f"default {each.default}").replace("`", "")
        names = f"{each.variable}, {each.file_variable}" if each.secret else each.variable
        assert f"{names} ({shown}) {each.help.replace('`', '')}" in flat


def test_the_help_is_grouped(printed: str) -> None:
    titles = re.findall(r"^([A-Z][a-z ]+):$", printed, re.MULTILINE)
    assert titles == [
        "Where to listen",
        "The recents",
        "Limits",
        "Times",
        "Who may do what",
        "The log",
    ]


def test_the_help_fits_on_a_terminal(printed: str) -> None:
    assert max(map(len, printed.splitlines())) <= 80
