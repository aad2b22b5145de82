"""Nodes and NATS servers that fail at random: no client misses a notification unawares."""

import random
from pathlib import Path

from tests.chaos.cluster import cluster_chaos
from tests.chaos.test_chaos import report


async def test_cluster_loses_nothing(
    tmp_path: Path, chaos_seconds: float, chaos_seed: int | None
) -> None:
    """100 clients on three nodes; every acknowledged notification reaches every listener once.

    All in one order, without a gap unless the stream was deleted, and without a refusal while two
    of three servers are up.
    """
    seed = random.randrange(1_000_000) if chaos_seed is None else chaos_seed
    print(f"seed {seed}")
    report(seed, await cluster_chaos(seed, chaos_seconds, tmp_path))
