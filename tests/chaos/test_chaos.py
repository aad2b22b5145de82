"""Restarts, crashes and memcached outages at random: no client misses a notification unawares."""

import random

import pytest

from tests.chaos.run import chaos
from tests.support import MemcachedProcess

SHOWN = 5
"""Problems that a failure shows in full."""


async def test_missed_notifications_are_reported(
    memcached: MemcachedProcess, chaos_seconds: float, chaos_seed: int | None
) -> None:
    """100 clients and 200 notifications per second; every client gets everything, or a gap.

    `--chaos-seconds` makes the run longer, `--chaos-seed` repeats the choices of an earlier run;
    `-s` shows the seed of a run that passes, too.
    """
    seed = random.randrange(1_000_000) if chaos_seed is None else chaos_seed
    print(f"seed {seed}")
    report(seed, await chaos(seed, chaos_seconds, memcached))


def report(seed: int, problems: list[str]) -> None:
    """Fail with the first of the problems, if there are any."""
    if problems:
        shown = "\n".join(problems[:SHOWN])
        pytest.fail(f"seed {seed}: {len(problems)} problems, the first of them:\n{shown}")
