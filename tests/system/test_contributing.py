"""Every command for developers works as documented."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

import tests.run
from tests.support import ROOT
from tests.support.documents import (
    CONTRIBUTING,
    DOCUMENTS,
    RECIPES,
    TESTING,
    commands,
    copy_project,
    read,
)
from tests.system.test_readme import COMMANDS as OTHER_COMMANDS
from tests.system.test_readme import TESTS

SOME_TESTS = "python3 tests/run.py tests/unit -k stall"
FUZZ = ".venv/bin/python -m tests.fuzz --help"
LONG_CHAOS = "python3 tests/run.py tests/chaos --chaos-seconds 600"
BENCH = ".venv/bin/python -m tests.bench"
QUICK_BENCH = ".venv/bin/python -m tests.bench --quick"

DEVELOP = "pip install -e '.[test]' -c requirements.txt"
FAST_TESTS = "pytest tests/unit tests/http"
PYTEST = "pytest"
CHECKS = ["ruff check .", "ruff format .", "mypy", "hadolint docker/Dockerfile"]
GENERATE = "python -m tests.generate"
COMPARE = "python -m tests.bench"

COMMANDS = {
    TESTING: [TESTS, SOME_TESTS, FUZZ, LONG_CHAOS, BENCH, QUICK_BENCH],
    CONTRIBUTING: [DEVELOP, FAST_TESTS, PYTEST, TESTS, *CHECKS, GENERATE, COMPARE],
}
"""Each of these is run by a test below."""


@pytest.mark.parametrize("document", sorted({*DOCUMENTS} - {*OTHER_COMMANDS, RECIPES}))
def test_every_command_is_tested(document: str) -> None:
    assert commands("sh", document) == COMMANDS.get(document, [])


def run_here(*words: str) -> str:
    """Run Python in the root of the project. Return its output, or fail with it."""
    command = [sys.executable, *words]
    result = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.parametrize("command", [SOME_TESTS, LONG_CHAOS])
def test_run_passes_arguments_to_pytest(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Sequence[str]] = []

    def record(command: Sequence[str]) -> int:
        ran.append(command)
        return 0

    monkeypatch.setenv("PATH", os.environ["PATH"])  # put back at the end, as run.py extends it
    monkeypatch.setattr(tests.run, "install", lambda: True)
    monkeypatch.setattr(tests.run, "run", record)
    _, script, *arguments = shlex.split(command)
    assert (ROOT / script).samefile(tests.run.__file__)
    assert tests.run.main(arguments) == 0
    assert ran == [[tests.run.python(), "-m", "pytest", *arguments]]


@pytest.mark.timeout(120)  # a second pytest collects all tests
def test_pytest_commands_find_tests() -> None:
    """One collection serves the arguments of all commands."""
    _, *long = shlex.split(LONG_CHAOS.removeprefix("python3 "))
    printed = run_here("-m", "pytest", "--collect-only", "-q", *long[1:])
    folders = [*FAST_TESTS.split()[1:], long[0]]
    assert not PYTEST.partition(" ")[2]
    for folder in folders:
        assert f"\n{folder}/" in f"\n{printed}"
    _, _, folder, option, word = shlex.split(SOME_TESTS)
    assert option == "-k"
    assert re.search(rf"^{folder}/.*::.*{word}", printed, re.MULTILINE)


@pytest.mark.parametrize("command", [FUZZ, BENCH, QUICK_BENCH, COMPARE])
def test_python_commands_understand_their_options(command: str) -> None:
    _, *words = shlex.split(command)
    assert "usage:" in run_here(*words, *([] if "--help" in words else ["--help"]))


def test_generate_command_exists() -> None:
    """Whether the generated files are up to date is a test of its own."""
    assert (ROOT / GENERATE.split()[-1].replace(".", "/") / "__main__.py").is_file()


def test_full_run_has_every_check() -> None:
    """The checks that CONTRIBUTING names one by one, and the benchmark."""
    steps = [[Path(program).name, *words] for program, *words in tests.run.steps().values()]
    for command in CHECKS:
        program, *words = command.split()
        assert any(
            {*words, program} <= {*step} for step in steps if step[0] in (program, "python")
        ), command
    assert ["python", *shlex.split(QUICK_BENCH)[1:]] in steps


def test_ci_runs_the_test_command() -> None:
    assert TESTS in read(".ci/run")
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    assert {"run": ".ci/run"} in jobs["linux"]["steps"]
    assert set(jobs) == {"linux", "macos", "windows"}
    for job in jobs.values():
        assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


@pytest.mark.timeout(90)  # asks the package index for every dependency
def test_development_command_resolves(tmp_path: Path) -> None:
    """Everything but the last step, in a path with a space."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    copy_project(folder)
    _, *arguments = shlex.split(DEVELOP)
    subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--dry-run", "-q"], cwd=folder, check=True
    )
