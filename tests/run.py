"""Install the requirements of the tests, then run every check.

    python3 tests/run.py                              every check
    python3 tests/run.py tests/unit -k stall          pytest alone, with these arguments
    python3 tests/run.py --help                       this text; installs nothing

Packages go into .venv, which is rebuilt when requirements.txt, setup.cfg or pyproject.toml change.
If the installation fails, the .venv that was there before is put back.
As root on Debian and its derivatives, missing programs are installed as well.
Elsewhere each missing program is named with the command that installs it, and the run fails.
"""

# Only the standard library: this file has to run before anything is installed.
import configparser
import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
NODE_PACKAGES = ("wscat@6.1.0", "axe-core@4.14.1", "@redocly/cli@2.77.0")
NPM_OPTIONS = ("--silent", "--no-audit", "--no-fund")
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Debian has nginx here, and leaves these folders out of the PATH of ordinary users."""

PROGRAMS = {
    # program: (Debian package, how to install it elsewhere)
    "caddy": ("caddy", "brew install caddy, or dnf install caddy"),
    "chromium": ("chromium", "brew install --cask chromium, or dnf install chromium"),
    "memcached": ("memcached", "brew install memcached, or dnf install memcached"),
    "nginx": ("nginx-light", "brew install nginx, or dnf install nginx"),
    "node": ("nodejs", "brew install node, dnf install nodejs, or winget install OpenJS.NodeJS"),
    "promtool": ("prometheus", "brew install prometheus, or dnf install golang-github-prometheus"),
    "npm": ("npm", "brew install node, dnf install npm, or winget install OpenJS.NodeJS"),
}

if platform.system() == "Linux":
    PROGRAMS["systemd-analyze"] = ("systemd", "dnf install systemd")

BENCHMARK = "benchmark (quick, informational)"
"""It fails only if a notification was not delivered.

One short round says little about speed, above all beside other programs.
"""


def main(arguments: Sequence[str]) -> int:
    """Install, check, test. Return 0 if everything passed."""
    if sys.version_info < (3, 11):  # noqa: UP036  # started by any python3
        print("tests/run.py: needs Python 3.11 or newer, this is", platform.python_version())
        return 1
    if "-h" in arguments or "--help" in arguments:
        print((__doc__ or "").strip())
        return 0
    extend_path(*SYSTEM_FOLDERS)
    if not install():
        return 1
    os.environ["PATH"] = os.pathsep.join(
        [str(scripts()), str(VENV / "node" / "node_modules" / ".bin"), os.environ["PATH"]]
    )
    if arguments:
        return run([python(), "-m", "pytest", *arguments])
    failed = [name for name, command in steps().items() if not passes(name, command)]
    print(summary(failed), flush=True)
    return 1 if failed else 0


def steps() -> dict[str, list[str]]:
    """Return the commands of a full run by name, in order."""
    pytest = [python(), "-m", "pytest", "--cov", "--cov-branch"]
    light = ["-m", "not heavy", "-n", "3", "--dist", "worksteal"]
    # The floor of the coverage holds for both parts together, so only the second one is judged.
    unjudged = ["--cov-report=", "--cov-fail-under=0"]
    heavy = ["-m", "heavy", "--cov-append", "--cov-report=term"]
    return {
        "ruff check": [str(scripts() / "ruff"), "check", "."],
        "ruff format": [str(scripts() / "ruff"), "format", "--check", "."],
        "mypy": [python(), "-m", "mypy"],
        "hadolint": [str(scripts() / "hadolint"), "docker/Dockerfile"],
        "pytest": [*pytest, *light, *unjudged],
        "pytest, heavy tests one by one": [*pytest, *heavy],
        BENCHMARK: [python(), "-m", "tests.bench", "--quick"],
    }


def summary(failed: Sequence[str]) -> str:
    """Return the last line of a full run."""
    if failed:
        return "FAILED: " + ", ".join(failed)
    return "All checks passed. The figures of the quick benchmark above are informational."


def passes(name: str, command: Sequence[str]) -> bool:
    """Run one step under a heading. Return whether it succeeded."""
    print(f"== {name}", flush=True)
    return run(command) == 0


def run(command: Sequence[str]) -> int:
    """Run a program in the root of the project. Return its exit status."""
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode


def scripts() -> Path:
    """Return the folder of the virtual environment's programs."""
    return VENV / ("Scripts" if os.name == "nt" else "bin")


def python() -> str:
    """Return the virtual environment's interpreter."""
    return str(scripts() / "python")


def extend_path(*folders: str) -> None:
    """Append `folders` to PATH where they are missing from it."""
    path = os.environ["PATH"].split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*path, *(each for each in folders if each not in path)])


def install() -> bool:
    """Install missing programs. Return whether everything is there now."""
    return install_programs() and install_packages()


def install_programs() -> bool:
    """Install the missing ones of PROGRAMS, and the part of Python that Debian leaves out."""
    missing = {name: PROGRAMS[name] for name in PROGRAMS if shutil.which(name) is None}
    packages = [package for package, _ in missing.values()]
    if not has_ensurepip():
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


def has_ensurepip() -> bool:
    """Return whether `python -m venv` can work: Debian packages ensurepip separately."""
    return (Path(sysconfig.get_path("stdlib")) / "ensurepip").is_dir()


def apt_install(packages: Sequence[str]) -> bool:
    """Install Debian packages, without letting them start services."""
    print("installing", *packages, flush=True)
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    # invoke-rc.d asks this file before it starts a service; 101 means "not allowed".
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
    """Build .venv from setup.cfg and NODE_PACKAGES, once for each state of these."""
    wanted = fingerprint()
    stamp = VENV / "installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        print("everything is installed", flush=True)
        return True
    print("installing into .venv", flush=True)
    npm = shutil.which("npm")
    assert npm
    pip = [python(), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    # Started by .venv's own interpreter, sys.executable is about to be moved aside.
    interpreter = getattr(sys, "_base_executable", sys.executable)
    commands = [
        [interpreter, "-m", "venv", str(VENV)],
        [*pip, "-c", "requirements.txt", "-r", "requirements.txt", *extras()],
        [npm, "install", *NPM_OPTIONS, "--prefix", str(VENV / "node"), *NODE_PACKAGES],
    ]
    with contextlib.suppress(subprocess.CalledProcessError), replacing(VENV):
        for command in commands:
            subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=True)
        stamp.write_text(wanted, encoding="utf-8")
        return True
    print("the installation failed, so .venv is as it was before", flush=True)
    return False


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[None]:
    """Move `folder` aside while a new one is built in its place, and back if that fails.

    A virtual environment cannot be built elsewhere and moved: its scripts name its absolute path.
    """
    aside = folder.with_name(folder.name + ".old")
    if aside.exists():  # an earlier run was killed, so `folder` is incomplete
        remove(folder)
        aside.rename(folder)
    if folder.exists():
        folder.rename(aside)
    try:
        yield
    except BaseException:  # Ctrl-C as well
        remove(folder)
        if aside.exists():
            aside.rename(folder)
        raise
    remove(aside)


def remove(folder: Path) -> None:
    """Delete a tree, if it exists."""
    if folder.exists():
        shutil.rmtree(folder)


def fingerprint() -> str:
    """Return a digest of everything that decides what gets installed."""
    digest = hashlib.sha256(repr((sys.version, NODE_PACKAGES)).encode())
    for name in ("requirements.txt", "setup.cfg", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def extras() -> list[str]:
    """Return the requirements of the extras `test` and `bench`.

    They are named one by one because installing the project would leave its metadata in the root.
    """
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    section = config["options.extras_require"]
    return [line for extra in ("test", "bench") for line in section[extra].split("\n") if line]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
