"""`tests/run.py`: its installation, which keeps an environment that it cannot replace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tests.run as runner
from tests.support import ROOT


def built(folder: Path) -> str:
    """Return the mark that tells one environment from another."""
    return (folder / "mark").read_text(encoding="utf-8")


def build(folder: Path, mark: str) -> None:
    """Make an environment."""
    folder.mkdir()
    (folder / "mark").write_text(mark, encoding="utf-8")


def test_help_installs_nothing(tmp_path: Path) -> None:
    """In a copy, so that nothing is installed already."""
    script = tmp_path / "tests" / "run.py"
    script.parent.mkdir()
    script.write_bytes((ROOT / "tests" / "run.py").read_bytes())
    for flag in ("-h", "--help"):
        result = subprocess.run(
            [sys.executable, str(script), flag], capture_output=True, encoding="utf-8", check=True
        )
        assert "python3 tests/run.py tests/unit" in result.stdout
        assert result.stderr == ""
    assert [each.name for each in tmp_path.iterdir()] == ["tests"]


def test_new_environment_replaces_the_old(tmp_path: Path) -> None:
    folder = tmp_path / ".venv"
    build(folder, "old")
    with runner.replacing(folder):
        assert not folder.exists()
        build(folder, "new")
    assert built(folder) == "new"
    assert list(tmp_path.iterdir()) == [folder]


def test_first_environment_needs_no_old_one(tmp_path: Path) -> None:
    folder = tmp_path / ".venv"
    with runner.replacing(folder):
        build(folder, "new")
    assert built(folder) == "new"


@pytest.mark.parametrize("error", [subprocess.CalledProcessError(1, "pip"), KeyboardInterrupt()])
def test_failed_installation_restores_the_old(tmp_path: Path, error: BaseException) -> None:
    folder = tmp_path / ".venv"
    build(folder, "old")

    def install() -> None:
        with runner.replacing(folder):
            build(folder, "half")
            raise error

    with pytest.raises(type(error)):
        install()
    assert built(folder) == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_killed_installation_restores_the_old_next_time(tmp_path: Path) -> None:
    folder = tmp_path / ".venv"
    build(folder, "half")
    build(tmp_path / ".venv.old", "old")
    with pytest.raises(RuntimeError), runner.replacing(folder):
        raise RuntimeError("fails again")
    assert built(folder) == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_failed_pip_restores_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the real venv, and a requirement that does not exist."""
    folder = tmp_path / "a clone" / ".venv"
    folder.parent.mkdir()
    build(folder, "old")
    for name in ("requirements.txt", "setup.cfg", "pyproject.toml"):
        (folder.parent / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(runner, "ROOT", folder.parent)
    monkeypatch.setattr(runner, "VENV", folder)
    monkeypatch.setattr(runner, "extras", lambda: ["--no-index", "not-a-distribution"])
    assert runner.install_packages() is False
    assert built(folder) == "old"
    assert ".venv is as it was before" in capfd.readouterr().out


def test_programs_in_sbin_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"/usr/bin{os.pathsep}{tmp_path}")
    runner.extend_path(*runner.SYSTEM_FOLDERS)
    expected = ["/usr/bin", str(tmp_path), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    assert os.environ["PATH"].split(os.pathsep) == expected
    runner.extend_path(*runner.SYSTEM_FOLDERS)
    assert os.environ["PATH"].split(os.pathsep) == expected


def test_missing_program_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert runner.install_programs() is False
    printed = capsys.readouterr().out
    for program, (package, elsewhere) in runner.PROGRAMS.items():
        assert f"{program} is missing: sudo apt-get install {package}, or {elsewhere}" in printed


def test_summary_calls_the_benchmark_informational() -> None:
    assert "informational" in runner.BENCHMARK
    assert "benchmark above are informational" in runner.summary([])
    assert runner.summary(["mypy", "pytest"]) == "FAILED: mypy, pytest"


def test_change_of_requirements_changes_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    for name in ("requirements.txt", "setup.cfg", "pyproject.toml"):
        (tmp_path / name).write_text("", encoding="utf-8")
    before = runner.fingerprint()
    assert runner.fingerprint() == before
    (tmp_path / "setup.cfg").write_text("changed", encoding="utf-8")
    assert runner.fingerprint() != before
