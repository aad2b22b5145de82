"""Installs what the tests need, and runs them: `python3 tests/run.py [arguments of pytest…]`.

Nothing but the standard library, so that it runs wherever Python 3.11 does. On Debian and its
like, as root, missing programs are installed; elsewhere they are named, and the run fails.
"""

import configparser
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
NODE = VENV / "node"
STAMP = VENV / "installed"
NPM_OPTIONS = ("--silent", "--no-audit", "--no-fund")
NODE_PACKAGES = ("wscat@6.1.0", "axe-core@4.14.1")

PROGRAMS = {
    # program: (Debian package, how to install it elsewhere)
    "chromium": ("chromium", "brew install --cask chromium, or dnf install chromium"),
    "memcached": ("memcached", "brew install memcached, or dnf install memcached"),
    "nginx": ("nginx-light", "brew install nginx, or dnf install nginx"),
    "node": ("nodejs", "brew install node, dnf install nodejs, or winget install OpenJS.NodeJS"),
    "npm": ("npm", "brew install node, dnf install npm, or winget install OpenJS.NodeJS"),
}


def main(arguments: Sequence[str]) -> int:
    """Install, check, test; 0 if everything passed."""
    if sys.version_info < (3, 11):  # noqa: UP036  # it is run by whatever python3 there is
        print("tests/run.py: Python 3.11 or newer is needed, this is", platform.python_version())
        return 1
    if not install():
        return 1
    os.environ["PATH"] = os.pathsep.join(
        [str(BIN), str(NODE / "node_modules" / ".bin"), os.environ["PATH"]]
    )
    if arguments:
        return run([python(), "-m", "pytest", *arguments])
    failed = [name for name, command in steps().items() if not passes(name, command)]
    print("FAILED: " + ", ".join(failed) if failed else "Everything passed.", flush=True)
    return 1 if failed else 0


def steps() -> dict[str, list[str]]:
    """What a full run does, in order."""
    pytest = [python(), "-m", "pytest", "--cov", "--cov-branch"]
    light = ["-m", "not heavy", "-n", "4", "--cov-report=", "--cov-fail-under=0"]
    heavy = ["-m", "heavy", "--cov-append", "--cov-report=term"]
    return {
        "ruff check": [str(BIN / "ruff"), "check", "."],
        "ruff format": [str(BIN / "ruff"), "format", "--check", "."],
        "mypy": [python(), "-m", "mypy"],
        "hadolint": [str(BIN / "hadolint"), "docker/Dockerfile"],
        "pytest": [*pytest, *light],
        "pytest, one by one": [*pytest, *heavy],
        "benchmark": [python(), "-m", "tests.bench", "--quick"],
    }


def passes(name: str, command: Sequence[str]) -> bool:
    """Run one step under a heading."""
    print(f"== {name}", flush=True)
    return run(command) == 0


def run(command: Sequence[str]) -> int:
    """Run a program in the project's root; its exit status."""
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode


def python() -> str:
    """The virtual environment's own."""
    return str(BIN / "python")


def install() -> bool:
    """Everything that is missing; nothing where nothing is."""
    return install_programs() and install_packages()


def install_programs() -> bool:
    """Those of PROGRAMS; and the part of Python that Debian leaves out."""
    missing = {name: PROGRAMS[name] for name in PROGRAMS if shutil.which(name) is None}
    packages = [package for package, _ in missing.values()]
    if not can_make_environments():
        packages.append(f"python3.{sys.version_info.minor}-venv")
    if not packages:
        return True
    if shutil.which("apt-get") and os.name == "posix" and os.geteuid() == 0:
        return apt_install(packages)
    for name, (package, elsewhere) in missing.items():
        print(f"{name} is missing: sudo apt-get install {package}, or {elsewhere}")
    if len(packages) > len(missing):
        print(f"Python's ensurepip is missing: sudo apt-get install {packages[-1]}")
    return False


def can_make_environments() -> bool:
    """Debian splits ensurepip off Python."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    return (stdlib / "ensurepip").is_dir()


def apt_install(packages: Sequence[str]) -> bool:
    """Install Debian packages, without letting them start services."""
    print("installing", *packages, flush=True)
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
        policy.chmod(0o755)
    try:
        return (
            run(["apt-get", "update", "-qq"]) == 0
            and run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]) == 0
        )
    finally:
        if ours:
            policy.unlink()


def install_packages() -> bool:
    """What setup.cfg names, and Node's packages, into .venv; once for each state of that."""
    wanted = hashlib.sha256(repr((sys.version, NODE_PACKAGES)).encode())
    for name in ("requirements.txt", "setup.cfg", "pyproject.toml"):
        wanted.update((ROOT / name).read_bytes())
    if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == wanted.hexdigest():
        print("everything is installed", flush=True)
        return True
    print("installing into .venv", flush=True)
    npm = shutil.which("npm")
    assert npm
    pip = [python(), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    commands = [
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        [*pip, "-c", "requirements.txt", "-r", "requirements.txt", *extras()],
        [npm, "install", *NPM_OPTIONS, "--prefix", str(NODE), *NODE_PACKAGES],
    ]
    if not all(run(command) == 0 for command in commands):
        return False
    STAMP.write_text(wanted.hexdigest(), encoding="utf-8")
    return True


def extras() -> list[str]:
    """The requirements of the extras `test` and `bench`.

    Named one by one, since installing the project itself would leave its metadata in the root.
    """
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    section = config["options.extras_require"]
    return [line for extra in ("test", "bench") for line in section[extra].split("\n") if line]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
