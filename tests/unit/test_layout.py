"""The layout of the code: test files mirror modules, imports point down, nothing is too long."""

import ast
import graphlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "aionotify"
TESTS = ROOT / "tests"

ROOMS = (
    "__main__",
    "token_command",
    "server",
    "listeners",
    "__init__",
    "app",
    "endpoints",
    "http",
    "keys",
    "metrics",
    "logs",
    "rejections",
    "access",
    "receiver",
    "notifier",
    "broker",
    "cache",
    "hub",
    "expiry",
    "yielding",
    "fanout",
    "merged",
    "topic",
    "websocket",
    "inbox",
    "eventstream",
    "subscriber",
    "stall",
    "streams",
    "encoders",
    "decoders",
    "idempotency",
    "fields",
    "history",
    "recents",
    "budget",
    "ids",
    "frames",
    "notification",
    "settings",
    "limits",
    "build",
    "text",
    "grants",
    "errors",
    "stats",
    "incidents",
    "addresses",
    "net",
    "client",
)
"""The modules and packages of aionotify, from the top: each may import only from those below it."""

VERSION = "aionotify.__version__"
"""The one name that every room may import from the root package.

`aionotify/__init__.py` imports the server only when it is asked for, so there is no circle.
"""

SOURCES = (".py", ".js", ".css", ".c")
"""Suffixes of the files whose length is limited; data and generated files may be longer."""

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
"""The file of every module of aionotify. A package counts as its `__init__.py`."""


def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def names(paths: Iterable[Path]) -> list[str]:
    """Return the paths relative to the repository, sorted."""
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


# ------------------------------------------------------------------------------------ test files


def has_code(path: Path) -> bool:
    """Return whether a module has more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in parsed(path).body)


def unit_test_of(path: Path) -> Path:
    """Return the unit test file of a module: `a/b.py` has `tests/unit/a/test_b.py`.

    The underscores of `__init__` and `__main__` are dropped.
    """
    folder = TESTS / "unit" / path.parent.relative_to(PACKAGE)
    return folder / f"test_{path.stem.strip('_')}.py"


def test_modules_have_unit_tests() -> None:
    """Every module has its unit test file, and every unit test file has its module.

    A second file for a module is called `test_<module>_<part>.py`. The modules of `endpoints/` have
    tests over HTTP instead; empty `__init__.py` files have none.
    """
    tested = {
        unit_test_of(path)
        for path in MODULES.values()
        if has_code(path) and PACKAGE / "endpoints" not in path.parents
    }
    found = {*(TESTS / "unit").rglob("test_*.py")} - {Path(__file__)}
    stems = {(each.parent, each.stem) for each in tested}
    parts = {
        each
        for each in found
        if any(each.parent == folder and each.stem.startswith(stem + "_") for folder, stem in stems)
    }
    missing, extra = names(tested - found), names(found - tested - parts)
    assert not missing, f"unit tests missing: {missing}"
    assert not extra, f"unit tests without a module: {extra}"


def test_endpoints_have_http_tests() -> None:
    """Each endpoint has `tests/http/test_<module>.py`, or several `test_<module>_*.py`."""
    folder = TESTS / "http"
    missing = [
        path.stem
        for path in MODULES.values()
        if path.parent == PACKAGE / "endpoints" and has_code(path)
        if not [*folder.glob(f"test_{path.stem}.py"), *folder.glob(f"test_{path.stem}_*.py")]
    ]
    assert not missing, f"tests missing in tests/http: {missing}"


# --------------------------------------------------------------------------------------- imports


def imports_of(module: str) -> Iterator[str]:
    """Yield the modules of aionotify that `module` imports, wherever in the file.

    An import inside a function or under `TYPE_CHECKING` counts, too: it is a dependency all the
    same, and moving an import there is how cycles are hidden.
    """
    for node in ast.walk(parsed(MODULES[module])):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{module}: relative import"
            for each in node.names:
                submodule = f"{node.module}.{each.name}"
                target = submodule if submodule in MODULES else node.module
                if target in MODULES and submodule != VERSION:
                    yield target


def room(module: str) -> str:
    """Return the room of a module: its name below the root package, without submodules."""
    return module.split(".")[1] if "." in module else "__init__"


def test_rooms_are_all_listed() -> None:
    found = {room(module) for module in MODULES}
    assert not found ^ {*ROOMS}, f"listed or found only: {sorted(found ^ {*ROOMS})}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """A module imports from its own room and from the rooms below it."""
    below = {room(module), *ROOMS[ROOMS.index(room(module)) :]}
    upward = [each for each in imports_of(module) if room(each) not in below]
    assert not upward, f"{module} imports {upward}"


def test_imports_have_no_cycle() -> None:
    """Not even within a room."""
    graph = graphlib.TopologicalSorter({each: {*imports_of(each)} for each in MODULES})
    graph.prepare()  # raises CycleError, which names the modules


# ---------------------------------------------------------------------------------------- length


def test_files_are_short() -> None:
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for folder in (PACKAGE, TESTS)
        for path in folder.rglob("*")
        if path.suffix in SOURCES
    }
    long = names(path for path, lines in lengths.items() if lines > MAX_FILE_LINES)
    assert not long, f"files above {MAX_FILE_LINES} lines: {long}"


def test_functions_are_short() -> None:
    """Signature, docstring and body together; in the package, not in tests."""
    lengths = {
        f"{module}:{node.name}": node.end_lineno - node.lineno + 1
        for module, path in MODULES.items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    long = [name for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES]
    assert not long, f"functions above {MAX_FUNCTION_LINES} lines: {long}"
