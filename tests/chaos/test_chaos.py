"""Whatever happens to clients, server and memcached: no client misses anything without a gap."""

import random

import pytest

from tests.chaos.run import chaos
from tests.support import MemcachedProcess


async def test_nobody_misses_anything_unawares(
    memcached: MemcachedProcess, chaos_seconds: float, chaos_seed: int | None
) -> None:
    """A hundred clients, 200 notifications a second; restarts, crashes, and memcached dies.

    `--chaos-seconds` makes it longer, `--chaos-seed` repeats the choices of an earlier run.
    """
    seed = random.randrange(1_000_000) if chaos_seed is None else chaos_seed
    problems = await chaos(seed, chaos_seconds, memcached)
    if problems:
        shown = "\n".join(problems[:5])
        pytest.fail(f"seed {seed}: {len(problems)} problems, the first of them:\n{shown}")
