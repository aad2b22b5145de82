"""Fixtures that several unit tests share."""

from collections.abc import Iterator

import pytest

from tests.support.loop import HandLoop, hand_turned

# pytest explains a failed `assert` only in test modules and in those registered before import.
pytest.register_assert_rewrite("tests.support.deliveries")


@pytest.fixture
def loop() -> Iterator[HandLoop]:
    """The running event loop, turned by hand."""
    with hand_turned() as loop:
        yield loop
