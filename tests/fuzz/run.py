"""A fuzz run against the real process."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

from tests.fuzz.attackers import Run, attack_http, attack_websocket
from tests.fuzz.memcached import fuzzed_memcached
from tests.fuzz.settings import check_random_settings
from tests.fuzz.watch import Probe, check_delivery, check_log, growth, open_files, watch_memory
from tests.support import ServerProcess, eventually, running_server

ATTACKERS = 6
"""How many connections of each kind are open at a time."""

SETTINGS = 2000
"""How many random settings are read before the server starts."""

MAX_GROWTH = 128 * 1024
"""KiB by which the least memory of the last third may be above that of the first.

The server keeps incomplete request bodies for 10 s, so a short run ends before it drops them as
fast as they come, and the allocator returns memory in batches. In a long run, a leak is far above
this limit.
"""

IDLE_CLOSE = 15
"""Seconds within which the server closes the connections of a run: it waits for 10 s."""


async def fuzz(seed: int, seconds: float) -> str:
    """Run for `seconds`. Return a line to print; AssertionError with the latest inputs on failure.

    The same seed makes the same inputs, but not in the same order: connections are concurrent.
    """
    chance = random.Random(seed)
    for _ in range(SETTINGS):
        check_random_settings(chance)
    async with _target(random.Random(seed + 1)) as server:
        run = Run(server, time.monotonic() + seconds)
        before = open_files(server)
        probe = Probe(run)
        probe.start()
        try:
            return f"seed {seed}: {await _attack(run, probe, seed, before)}"
        except BaseException as error:
            run.deadline = 0
            probe.join()
            error.add_note(f"seed {seed}; the latest inputs, newest last:")
            for data in run.sent:
                error.add_note(repr(data))
            error.add_note(server.output()[-5000:])
            raise


@contextlib.asynccontextmanager
async def _target(chance: random.Random) -> AsyncIterator[ServerProcess]:
    """Start a server whose memcached misbehaves.

    It retains so little that lasting growth of its memory is a leak.
    """
    async with (
        fuzzed_memcached(chance) as memcached,
        running_server(
            {
                "MEMCACHED_HOST": f"127.0.0.1:{memcached.port}",
                "AIONOTIFY_RECENT_TTL": "2",
                "AIONOTIFY_HISTORY_LIMIT": "20",
            }
        ) as server,
    ):
        yield server


async def _attack(run: Run, probe: Probe, seed: int, files_before: int) -> str:
    """Attack until time is up, then check that nothing is left behind. Return a summary."""
    memory = asyncio.create_task(watch_memory(run))
    async with asyncio.TaskGroup() as group:
        delivered = group.create_task(check_delivery(run))
        for number in range(ATTACKERS):
            chance = random.Random(f"{seed}/{number}")
            group.create_task(attack_http(run, chance))
            group.create_task(attack_websocket(run, chance))
    probe.join()
    probe.check()
    grown = growth(await memory)
    assert grown < MAX_GROWTH, f"the server grew by {grown} KiB"
    # One connection to memcached comes and goes, and may be counted twice while it is replaced.
    files = files_before + 2
    await eventually(
        lambda: open_files(run.server) <= files, IDLE_CLOSE, "all connections are closed"
    )
    assert await run.server.stop() == 0
    check_log(run.server.output())
    return (
        f"{run.inputs} inputs, {delivered.result()} notifications delivered, "
        f"slowest /health {max(probe.times) * 1000:.0f} ms, grown by {grown} KiB"
    )
