"""Three nodes on three NATS servers, beside one node on them, and one in memory, without NATS.

`python -m tests.bench.cluster` measures publishing, delivery, the start of a node, and the
delay of publishers when a NATS server ends. Linux only.
"""

import argparse
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench import private
from tests.bench.nodes import (
    catch_up,
    delivered,
    new_stream,
    one_at_a_time,
    peer,
    running_nodes,
    slowest_post,
    throughput,
)
from tests.bench.processes import prepare
from tests.bench.report import machine
from tests.support.nats import NatsCluster, running_nats_cluster

SETUPS = {"in memory": 0, "1 node": 1, "3 nodes": 3}
"""Numbers of nodes on NATS; 0 is one node without it."""

MEMORY, ONE, THREE = SETUPS

CONNECTIONS = (16, 64)
"""Numbers of connections that publish at the same time."""

MS, US = 1e3, 1e6


class Size(NamedTuple):
    """How much is measured in each round."""

    seconds: float
    """The length of each measurement of publishing."""
    notifications: int
    """In the stream that a node reads when it starts."""
    stops: int
    """How often the leader is stopped; it is killed once."""
    clients: int
    messages: int
    """JSON clients of one node, and notifications that each of them gets."""


FULL, QUICK = Size(2.0, 50_000, 3, 2000, 60), Size(0.2, 1000, 1, 100, 20)


class Row(NamedTuple):
    """A row of the table."""

    name: str
    scale: float = 1.0
    """The factor of the values: 1000 for milliseconds."""
    required: float | None = None
    """The most that three nodes may have."""
    combined: Callable[[Sequence[float]], float] = statistics.median


POST_P50, POST_P99 = Row("one POST at a time, p50 ms", MS, 4), Row("one POST at a time, p99 ms", MS)
DELIVERED_P50 = Row("POST to delivered on every node, p50 ms", MS, 2.5)
DELIVERED_P99 = Row("POST to delivered on every node, p99 ms", MS)
RATE = {number: Row(f"POST over {number} connections, /s") for number in CONNECTIONS}
NODE_CPU = {number: Row(f"  {number}: CPU µs of each node", US) for number in CONNECTIONS}
NATS_CPU = {number: Row(f"  {number}: CPU µs of each NATS server", US) for number in CONNECTIONS}
CATCH_UP = Row("read at start, notifications/s")
STOPPED = Row("slowest POST, leader stopped, median ms", MS)
STOPPED_WORST = Row("slowest POST, leader stopped, worst ms", MS, 200, max)
KILLED = Row("slowest POST, leader killed, median ms", MS)
DELIVERY_CPU, DELIVERY_RATIO = Row("JSON delivery, CPU µs", US), Row("JSON delivery, ratio")

Figure = tuple[Row, str, float]
"""One measurement: its row, its setup, and its value in seconds or per second."""


def publishing(cluster: NatsCluster, size: Size) -> Iterator[Figure]:
    """Measure one publisher and many, on all setups in turns."""
    for setup, count in SETUPS.items():
        with running_nodes(cluster, count, new_stream()) as nodes:
            seconds = one_at_a_time(nodes, size.seconds)
            yield POST_P50, setup, statistics.median(seconds)
            yield POST_P99, setup, _percentile_99(seconds)
            seconds = delivered(nodes, size.seconds)
            yield DELIVERED_P50, setup, statistics.median(seconds)
            yield DELIVERED_P99, setup, _percentile_99(seconds)
            for number in CONNECTIONS:
                found = throughput(nodes, cluster, number, size.seconds)
                yield RATE[number], setup, found.rate
                yield NODE_CPU[number], setup, found.node_cpu
                yield NATS_CPU[number], setup, found.nats_cpu


def _percentile_99(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


def starting(cluster: NatsCluster, size: Size) -> Iterator[Figure]:
    """Measure how fast a node reads the stream when it starts."""
    yield CATCH_UP, ONE, catch_up(cluster, size.notifications, size.notifications // 100)


def outages(cluster: NatsCluster, size: Size) -> Iterator[Figure]:
    """Measure the delay of publishers when the leader of the stream ends."""
    for _ in range(size.stops):
        slowest = slowest_post(cluster, signal.SIGTERM)
        yield STOPPED, THREE, slowest
        yield STOPPED_WORST, THREE, slowest
    yield KILLED, THREE, slowest_post(cluster, signal.SIGKILL)


def deliveries(cluster: NatsCluster, size: Size) -> Iterator[Figure]:
    """Measure the processor time of a delivery, with NATS and without."""
    clients, topics = min(size.clients, prepare()), private.KINDS["one topic"]
    cpu = {}
    for setup, server in ((MEMORY, None), (ONE, cluster.servers[0])):
        node = peer(server, new_stream())
        cpu[setup] = private.measure(node, topics, clients, size.messages).cpu
        yield DELIVERY_CPU, setup, cpu[setup]
    yield DELIVERY_RATIO, ONE, cpu[ONE] / cpu[MEMORY]


# `deliveries` is the last one, because it moves the load to a core of its own.
PARTS = {each.__name__: each for each in (publishing, starting, outages, deliveries)}


def table(figures: Sequence[Figure]) -> str:
    """Return the medians of all rounds, and the required values, as text."""
    found: dict[Row, dict[str, list[float]]] = {}
    for row, setup, value in figures:
        found.setdefault(row, {}).setdefault(setup, []).append(value)
    head = f"{'':42}" + "".join(f"{setup:>10}" for setup in SETUPS) + "  required"
    return "\n".join([head, *(_line(row, values) for row, values in found.items())])


def _line(row: Row, found: Mapping[str, Sequence[float]]) -> str:
    values = {setup: row.combined(each) * row.scale for setup, each in found.items()}
    cells = (_number(values[setup]) if setup in values else "" for setup in SETUPS)
    line = f"{row.name:42}" + "".join(f"{cell:>10}" for cell in cells)
    if row.required is None:
        return line
    return f"{line}  ≤ {row.required:g}{'  MISSED' if values[THREE] > row.required else ''}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts one after another, each in rounds, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a short run, to check that everything is delivered"
    )
    parser.add_argument("--rounds", type=int, help="how often each part is measured (3)")
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="measure only this one; can be repeated"
    )
    options = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        print("The benchmark needs Linux: epoll for the load, /proc for CPU time and memory.")
        return 0
    size, rounds = (QUICK if options.quick else FULL), options.rounds or (1 if options.quick else 3)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, running_nats_cluster(Path(folder)) as cluster:
        for name, part in PARTS.items():
            for number in range(rounds if name in (options.part or PARTS) else 0):
                figures += part(cluster, size)
                print(f"{name} {number + 1}/{rounds} done", file=sys.stderr, flush=True)
    print(f"{machine()}; medians of {rounds}")
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
