"""The documents, and the code blocks in them, which tests run."""

import re
import shutil
from pathlib import Path

from tests.support import ROOT

README = "README.md"
OPERATING = "docker/README.md"
RECIPES = "docker/RECIPES.md"
DESIGN = "aionotify/README.md"
TESTING = "tests/README.md"
CONTRIBUTING = ".github/CONTRIBUTING.md"
DOCUMENTS = (
    *(README, OPERATING, RECIPES, DESIGN, TESTING),
    *(CONTRIBUTING, ".github/SECURITY.md", ".github/CHANGELOG.md"),
)


def read(document: str) -> str:
    """Return the text of a document, named relative to the root."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(language: str, document: str = README) -> list[str]:
    """Return the code blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(document), re.MULTILINE | re.DOTALL)


def commands(language: str, document: str = README) -> list[str]:
    """Return the lines of these blocks: each is one command."""
    return [line for block in blocks(language, document) for line in block.splitlines()]


def copy_project(folder: Path) -> None:
    """Copy the files from which the package is installed and built."""
    shutil.copytree(ROOT / "aionotify", folder / "aionotify")
    for name in ("README.md", "requirements.txt", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
