"""The documents are true: their links, the files they name, and the map of the modules."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support import ROOT
from tests.support.documents import DESIGN, DOCUMENTS, read

PACKAGE = ROOT / "aionotify"
SCREENSHOT = ".github/ui.png"
SCREENSHOT_BYTES = 150 * 1024

NOUN_CLAUSE = re.compile(r"\b(what|whoever|nobody|everybody|somebody|those who)\b", re.I)
NOUN_CLAUSES_PER_WORD = 1 / 1000


def prose(document: str) -> str:
    """Return the text without code: neither blocks nor spans."""
    text = re.sub(r"^```.*?^```$", "", read(document), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "code", text)


def anchors(document: str) -> set[str]:
    """Return the anchors that the headings of a document have on GitHub."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    for target in re.findall(r"\]\(([^)]*)\)", read(document)):
        path, _, anchor = target.partition("#")
        assert "://" not in path, f"{target}: nothing here can tell whether it exists"
        linked = (folder / unquote(path)).resolve() if path else ROOT / document
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(str(linked.relative_to(ROOT))), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_files_exist(document: str) -> None:
    named = re.findall(r"`((?:tests|docker|aionotify|\.github)/[\w./-]+)`", read(document))
    assert [each for each in named if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_one_sentence_per_line(document: str) -> None:
    lines = [line for line in prose(document).splitlines() if not line.startswith("|")]
    assert [line for line in lines if re.search(r"\w[.!?] [A-Z]", line)] == []


def test_documents_have_few_noun_clauses() -> None:
    """Plain English: "the subscriber", not "who subscribes". A rough count over all documents."""
    text = "\n".join(map(prose, DOCUMENTS))
    found = NOUN_CLAUSE.findall(text)
    assert len(found) / len(text.split()) < NOUN_CLAUSES_PER_WORD, found


def test_screenshot_is_small() -> None:
    assert (ROOT / SCREENSHOT).stat().st_size <= SCREENSHOT_BYTES


def modules() -> list[str]:
    """Return every module of the package, as a path below it."""
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def mapped() -> list[str]:
    """Return the modules on the map, in its order."""
    table = read(DESIGN).partition("## Map of the modules")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([\w/]+\.py)` \|", table, re.MULTILINE)


def test_map_has_every_module_once() -> None:
    on_map, in_package = mapped(), modules()
    assert [each for each in in_package if each not in on_map] == []
    assert [each for each in on_map if each not in in_package] == []
    assert len(on_map) == len(in_package)


def imports(module: str) -> Iterator[str]:
    """Yield the modules of the package that `module` imports, as paths below it."""
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from aionotify.access import tokens` names a module, or something inside of one.
            nested = [f"{node.module}.{each.name}" for each in node.names]
            # `__version__` is assigned above the imports of `__init__.py`, so it is there for all.
            nested = [each for each in nested if each != "aionotify.__version__"]
            names = [each if path_of(each) else node.module for each in nested]
        else:
            continue
        yield from filter(None, map(path_of, names))


def path_of(name: str) -> str:
    """Return the path of a dotted module name below the package, or ""."""
    if name.split(".")[0] != "aionotify":
        return ""
    stem = Path(*name.split(".")[1:])
    for path in (stem / "__init__.py", stem.with_suffix(".py") if stem.name else stem):
        if (PACKAGE / path).is_file():
            return path.as_posix()
    return ""


def test_map_is_in_import_order() -> None:
    order = {module: place for place, module in enumerate(mapped())}
    upwards = [
        f"{module} imports {imported}"
        for module in order
        if (PACKAGE / module).is_file()
        for imported in imports(module)
        if imported in order and order[imported] <= order[module]
    ]
    assert upwards == []
