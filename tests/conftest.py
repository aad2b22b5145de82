"""Fixtures, options and marks that several test files share."""

import asyncio
import contextlib
import sys
import sysconfig
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from tests.run import SYSTEM_FOLDERS, extend_path
from tests.support import ROOT, MemcachedProcess

# The time that an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

CHAOS_EXTRA = 150
"""Seconds that a chaos test may take beyond `--chaos-seconds`, to settle and to be judged."""

HEAVY_FOLDERS = ("chaos",)
HEAVY_FILES = (
    "test_browser",
    "test_client_js",
    "test_cluster",
    "test_crowds",
    "test_description",
    "test_replay",
    "test_ui",
)
"""In tests/system, by the beginning of their names.

They keep both processors busy, so a full run leaves them for the end, one test at a time.
"""


@pytest.fixture
def memcached() -> Iterator[MemcachedProcess]:
    """Start a real memcached, empty, for one test."""
    process = MemcachedProcess()
    process.start()
    yield process
    process.kill()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests on asyncio's event loop, and those marked `both_loops` on uvloop as well.

    Transports differ: in how they buffer, pause, and close.
    """
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("both_loops"):
        with contextlib.suppress(ImportError):  # Windows and PyPy have none
            import uvloop

            loops["uvloop"] = uvloop.new_event_loop
    return loops


def pytest_configure() -> None:
    """Make `pytest` find the programs that tests start, without an activated environment."""
    node = f"{sys.prefix}/node/node_modules/.bin"
    extend_path(sysconfig.get_path("scripts"), node, *SYSTEM_FOLDERS)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the length and the seed of the chaos test."""
    parser.addoption("--chaos-seconds", type=float, default=15, help="length of the chaos test")
    parser.addoption("--chaos-seed", type=int, default=None, help="the seed that a run printed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark heavy tests and those that need memcached, and give some others more time."""
    for item in items:
        folder, *_ = item.path.relative_to(ROOT / "tests").parts
        fixtures = getattr(item, "fixturenames", ())
        if folder in HEAVY_FOLDERS or (
            folder == "system" and item.path.stem.startswith(HEAVY_FILES)
        ):
            item.add_marker(pytest.mark.heavy)
        if "memcached" in fixtures:
            item.add_marker(pytest.mark.memcached)
        if "chaos_seconds" in fixtures:
            limit = config.getoption("--chaos-seconds") + CHAOS_EXTRA
            item.add_marker(pytest.mark.timeout(limit))


@pytest.fixture
def chaos_seconds(pytestconfig: pytest.Config) -> float:
    """Return `--chaos-seconds`."""
    return float(pytestconfig.getoption("--chaos-seconds"))


@pytest.fixture
def chaos_seed(pytestconfig: pytest.Config) -> int | None:
    """Return `--chaos-seed`, or None."""
    seed: int | None = pytestconfig.getoption("--chaos-seed")
    return seed
