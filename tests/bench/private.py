"""What a private topic for each client costs: `python -m tests.bench.private`. Linux only.

5,000 clients, each with a topic of its own and one that all of them share, beside 5,000 clients of
the shared topic alone, and of two topics that all share. One message after another goes to the
shared topic.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.bench.clients import Crowd, frame_size
from tests.bench.peers import OURS, PEERS, Peer
from tests.bench.processes import prepare, running
from tests.support.raw_client import client_frame

LENGTH = 64
WARM_UP = 3

KINDS: dict[str, Callable[[int], str]] = {
    "one topic": lambda number: "shared",
    "two shared topics": lambda number: "another,shared",
    "a private and a shared topic": lambda number: f"user.{number:05},shared",
}
"""The topics of a client, by its number."""

_OBJECT = (
    '{"type":"notification","id":"1763884800000000","time":"2025-11-23T08:00:00.000Z",'
    '"topic":"shared","message":""}'
)


class Figure(NamedTuple):
    """One measurement."""

    cpu: float
    """Processor time of the server per delivery, in seconds."""
    client_bytes: float
    """Resident memory of the server per client, with what its topics take."""


def measure(peer: Peer, topics: Callable[[int], str], clients: int, messages: int) -> Figure:
    """Measure one kind of clients on a server of its own."""
    names = ",".join(f'"{name}"' for name in topics(0).split(","))
    subscribed = f'{{"type":"subscribed","topics":[{names}],"id":"1763884800000000"}}'
    with (
        running(peer) as server,
        Crowd(server.port, "/ws?client=admin&topic=shared") as crowd,
    ):

        def publish(message: str) -> None:
            crowd.publish(client_frame(message))
            crowd.receive(frame_size(len(_OBJECT) + LENGTH))

        before = server.resident_bytes()
        crowd.connect(
            clients,
            frame_size(len(subscribed)),
            path=lambda number: f"/ws?format=json&topic={topics(number)}",
        )
        size = (server.resident_bytes() - before) / clients
        for number in range(WARM_UP):
            publish(f"{number:0{LENGTH}}")
        used = server.cpu_seconds()
        for number in range(messages):
            publish(f"{number:0{LENGTH}}")
        return Figure((server.cpu_seconds() - used) / messages / clients, size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all kinds in turns, and print the medians and their ratios to one topic."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.private", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--messages", type=int, default=60)
    options = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        print("The benchmark needs Linux: epoll for the load, /proc for CPU time and memory.")
        return 0
    clients = min(options.clients, prepare())
    ours = next(each for each in PEERS if each.name == OURS)
    found: dict[str, list[Figure]] = {name: [] for name in KINDS}
    for _ in range(options.rounds):
        for name, topics in KINDS.items():
            found[name].append(measure(ours, topics, clients, options.messages))
    base = found["one topic"]
    print(f"{clients} clients, medians of {options.rounds} rounds, ratios of one round")
    print(f"{'each subscribes to':30} {'CPU µs':>7} {'ratio':>6} {'KiB':>6} {'more':>6}")
    for name, figures in found.items():
        cpu = statistics.median(each.cpu for each in figures)
        ratio = statistics.median(
            each.cpu / plain.cpu for each, plain in zip(figures, base, strict=True)
        )
        size = statistics.median(each.client_bytes for each in figures) / 1024
        more = statistics.median(
            each.client_bytes - plain.client_bytes
            for each, plain in zip(figures, base, strict=True)
        )
        print(f"{name:30} {cpu * 1e6:7.2f} {ratio:6.2f} {size:6.2f} {more / 1024:6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
