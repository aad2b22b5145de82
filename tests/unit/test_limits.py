"""The limit on open files is raised, and leaves room for files that are not connections."""

import subprocess
import sys

import pytest

import aionotify.limits
from aionotify.limits import connections_allowed, raise_file_limit


class FakeResource:
    """A stand-in for the `resource` module of a system with these limits."""

    RLIMIT_NOFILE = 7
    RLIM_INFINITY = -1

    def __init__(
        self, soft: int, hard: int, error: Exception | None = None, highest: float = float("inf")
    ) -> None:
        """Accept no limit if there is an `error`, and none above `highest`."""
        self.limits = (soft, hard)
        self._error = error
        self._highest = highest

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        assert which == self.RLIMIT_NOFILE
        if self._error is not None:
            raise self._error
        if limits[0] == self.RLIM_INFINITY or limits[0] > self._highest:
            raise ValueError("not allowed to raise maximum limit")
        self.limits = limits


def use(monkeypatch: pytest.MonkeyPatch, resource: FakeResource | None) -> None:
    """Replace the `resource` module in `aionotify.limits`."""
    monkeypatch.setattr(aionotify.limits, "resource", resource)


def test_soft_limit_is_raised_to_hard_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = FakeResource(1024, 524288)
    use(monkeypatch, resource)
    raise_file_limit()
    assert resource.limits == (524288, 524288)


@pytest.mark.parametrize("error", [ValueError("not so many"), OSError("not allowed")])
def test_refused_limit_is_left_alone(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    resource = FakeResource(256, -1, error)
    use(monkeypatch, resource)
    raise_file_limit()
    assert resource.limits == (256, -1)


@pytest.mark.parametrize(
    ("highest", "raised"), [(245_760, 245_760), (92_160, 65_536), (10_240, 10_240), (256, 256)]
)
def test_infinite_limit_is_raised_as_far_as_possible(
    highest: int, raised: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS, the hard limit is infinite, and is refused as a soft limit."""
    resource = FakeResource(256, -1, highest=highest)
    use(monkeypatch, resource)
    raise_file_limit()
    assert resource.limits == (raised, -1)


def test_hard_limit_is_never_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = FakeResource(1024, 20_000, highest=15_000)
    use(monkeypatch, resource)
    raise_file_limit()
    assert resource.limits == (10_240, 20_000)


@pytest.mark.parametrize(("soft", "allowed"), [(1024, 924), (101, 1), (50, 1), (-1, 1_000_000)])
def test_some_files_are_reserved(monkeypatch: pytest.MonkeyPatch, soft: int, allowed: int) -> None:
    use(monkeypatch, FakeResource(soft, -1))
    assert connections_allowed() == allowed


def test_missing_limit_allows_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, None)
    raise_file_limit()
    assert connections_allowed() == 1_000_000


def test_module_imports_without_resource() -> None:
    program = (
        "import sys; sys.modules['resource'] = None; import aionotify.limits as limits;"
        "limits.raise_file_limit(); print(limits.connections_allowed())"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "1000000\n"
