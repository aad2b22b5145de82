"""The distribution: built as wheel and sdist, installed into a bare environment, and run."""

import asyncio
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from aionotify import __version__
from tests.support import ROOT, eventually, free_port

pytestmark = pytest.mark.timeout(120)  # builds, and installs from the package index

NAME = "aionotify_server"
SCRIPTS = ("aionotify", "aionotify-server")
BUILD_FILES = ("README.md", "setup.cfg", "pyproject.toml")


class Built(NamedTuple):
    """The two files of a release."""

    wheel: Path
    sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build both from a copy in a path with a space; the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("a clone")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "aionotify", folder / "aionotify", ignore=ignored)
    for name in BUILD_FILES:
        shutil.copy(ROOT / name, folder)
    subprocess.run([sys.executable, "-m", "build", "--outdir", "dist"], cwd=folder, check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module")
def scripts(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install the wheel, and nothing else, into a bare environment. Yield its scripts' folder."""
    folder = tmp_path_factory.mktemp("bare environment")
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    constraints = str(ROOT / "requirements.txt")
    subprocess.run(
        [programs / "python", "-m", "pip", "install", "-q", "-c", constraints, built.wheel],
        check=True,
    )
    yield programs
    shutil.rmtree(folder)


def packaged() -> set[str]:
    """Return the files that belong into the package: everything but notes for developers."""
    files = (ROOT / "aionotify").rglob("*")
    return {
        str(each.relative_to(ROOT))
        for each in files
        if each.is_file() and each.suffix != ".md" and "__pycache__" not in each.parts
    }


def test_wheel_has_every_file_of_the_package(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    assert {each for each in names if not each.startswith(f"{NAME}-")} == packaged()


def test_sdist_has_every_file_of_the_package(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {each.partition("/")[2] for each in archive.getnames()}
    assert packaged() | set(BUILD_FILES) <= names


def test_wheel_has_the_metadata(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/METADATA"))
        text = archive.read(name).decode()
    assert built.wheel.name == f"{NAME}-{__version__}-py3-none-any.whl"
    assert "\nName: aionotify-server\n" in text
    assert "\nRequires-Python: >=3.11\n" in text
    assert re.search(r"^Requires-Dist: uvloop>=.*; sys_platform != .win32.", text, re.MULTILINE)
    assert "# aionotify" in text  # the README is the description


def test_console_scripts_print_the_version(scripts: Path) -> None:
    for name in SCRIPTS:
        printed = subprocess.run(
            [scripts / name, "--version"], capture_output=True, encoding="utf-8", check=True
        )
        assert printed.stdout == f"aionotify {__version__}\n"


@pytest.mark.parametrize("name", SCRIPTS)
async def test_installed_server_serves_its_data_files(
    scripts: Path, name: str, tmp_path: Path
) -> None:
    """In a folder without the source, so that nothing but the installed package can be found."""
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(str(scripts / name), "--host", "127.0.0.1", "--port", str(port)),
            cwd=tmp_path,
            env={"MEMCACHED_HOST": f"127.0.0.1:{free_port()}"},
            stdout=output,
            stderr=output,
        )
    try:
        await eventually(lambda: "listening on" in log.read_text(), 20, "the server listens")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/health") as response:
                assert (await response.json())["status"] == "healthy"
            for path in ("/ui", "/ui/app.js", "/ui/style.css", "/docs", "/openapi.json"):
                async with session.get(path) as response:
                    assert response.status == 200, path
                    assert len(await response.read()) > 1000, path
        process.terminate()
        assert await process.wait() == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "Traceback" not in log.read_text()
