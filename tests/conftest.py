"""Fixtures and options that more than one file of tests uses."""

from collections.abc import Iterator

import pytest

from tests.support import MemcachedProcess


@pytest.fixture
def memcached() -> Iterator[MemcachedProcess]:
    """A real memcached, running and empty."""
    process = MemcachedProcess()
    process.start()
    yield process
    process.kill()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long there is chaos, and how to repeat it."""
    parser.addoption("--chaos-seconds", type=float, default=15, help="length of the chaos test")
    parser.addoption("--chaos-seed", type=int, default=None, help="the seed that a run printed")


HEAVY = ("browser", "chaos", "crowds", "description", "ui")
"""Files of tests/system that keep both processors busy: a full run has them one by one, last."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The chaos test may take as long as it is told to, and 45 s more."""
    for item in items:
        if item.path.stem.removeprefix("test_") in HEAVY:
            item.add_marker(pytest.mark.heavy)
        if "chaos_seconds" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(config.getoption("--chaos-seconds") + 45))


@pytest.fixture
def chaos_seconds(pytestconfig: pytest.Config) -> float:
    """`--chaos-seconds`."""
    return float(pytestconfig.getoption("--chaos-seconds"))


@pytest.fixture
def chaos_seed(pytestconfig: pytest.Config) -> int | None:
    """`--chaos-seed`, if it was given."""
    seed: int | None = pytestconfig.getoption("--chaos-seed")
    return seed
