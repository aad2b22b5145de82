"""`POST /notifications`: requests per second and latency, beside a bare aiohttp handler.

`python -m tests.bench.publishing` measures all servers in turns, so that their ratios come from
one run. Linux only.
"""

import argparse
import contextlib
import itertools
import select
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from tests.bench.peers import OURS, PEERS, Peer
from tests.bench.processes import Failure, Server, prepare, running
from tests.support import MemcachedProcess

CONNECTIONS = (1, 16, 256)
TOPICS = (1, 5000)
LENGTH = 64

BARE = "bare aiohttp"
MEMORY = f"{OURS}, memory"
MEMCACHED = f"{OURS}, memcached"

REQUIRED = {(MEMORY, 1): 0.5, (MEMORY, 5000): 0.42, (MEMCACHED, 1): 0.35, (MEMCACHED, 5000): 0.22}
"""Requests per second, as a share of the bare handler's, by server and topics, at 16 and more
connections."""

MAX_LATENCY_RATIO = 3.0
"""How many times as long a single connection may wait with memcached as without."""


class Figure(NamedTuple):
    """One measurement."""

    rate: float
    """Requests per second."""
    latency: float
    """The median, in seconds."""
    cpu: float
    """Processor time of the server per request, in seconds."""


Figures = dict[tuple[str, int, int], list[Figure]]
"""All measurements, by server, connections and topics."""


def requests(topics: int) -> list[bytes]:
    """Return a request for each topic: the message is its number."""
    lines = []
    for number in range(topics):
        query = f"?topic=user.{number}" if topics > 1 else ""
        head = f"POST /notifications{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        lines.append(f"{head}Content-Length: {LENGTH}\r\n\r\n{number:0{LENGTH}}".encode())
    return lines


def measure(
    ports: Sequence[int], connections: int, topics: int, seconds: float
) -> tuple[float, float]:
    """Return requests per second and the median latency in seconds.

    Every connection sends its next request when it has the answer to the last one. The connections
    are spread over `ports`.
    """
    messages = requests(topics)
    sockets = [
        socket.create_connection(("127.0.0.1", port), 10)
        for port in itertools.islice(itertools.cycle(ports), connections)
    ]
    latencies: list[float] = []
    sent_at: dict[int, float] = {}
    by_fd = {each.fileno(): each for each in sockets}
    next_topic = 0
    with contextlib.ExitStack() as stack:
        for each in sockets:
            stack.enter_context(each)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll = stack.enter_context(select.epoll())
        started = time.perf_counter()
        for fd, each in by_fd.items():
            poll.register(fd, select.EPOLLIN)
            each.send(messages[next_topic])
            next_topic = (next_topic + 1) % topics
            sent_at[fd] = time.perf_counter()
        while (now := time.perf_counter()) - started < seconds:
            for fd, _ in poll.poll(5):
                answer = by_fd[fd].recv(65536)
                now = time.perf_counter()
                if not answer.startswith(b"HTTP/1.1 201 "):
                    raise Failure(f"POST was answered with {answer[:100]!r}")
                latencies.append(now - sent_at[fd])
                sent_at[fd] = now
                by_fd[fd].send(messages[next_topic])
                next_topic = (next_topic + 1) % topics
        elapsed = time.perf_counter() - started
    if not latencies:
        raise Failure("no request was answered")
    return len(latencies) / elapsed, statistics.median(latencies)


@contextlib.contextmanager
def servers() -> Iterator[dict[str, Peer]]:
    """Yield the servers to measure by name, with a memcached for one of them."""
    ours = next(each for each in PEERS if each.name == OURS)
    bare = replace(
        ours,
        name=BARE,
        command=lambda port, _: [
            sys.executable,
            "-m",
            "tests.bench.peers.bare_aiohttp",
            str(port),
        ],
        environment={},
    )
    memcached = MemcachedProcess()
    memcached.start()
    try:
        environment = {"AIONOTIFY_HEARTBEAT": "0", "MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
        with_memcached = replace(ours, name=MEMCACHED, environment=environment)
        yield {BARE: bare, MEMORY: replace(ours, name=MEMORY), MEMCACHED: with_memcached}
    finally:
        memcached.kill()


def run(rounds: int, seconds: float) -> Figures:
    """Measure everything, servers in turns."""
    figures: Figures = {}
    with servers() as peers:
        for number in range(rounds):
            for topics in TOPICS:
                for connections in CONNECTIONS:
                    for name, peer in peers.items():
                        with running(peer) as server:
                            found = _one(server, connections, topics, seconds)
                        figures.setdefault((name, connections, topics), []).append(found)
            print(f"round {number + 1}/{rounds} done", file=sys.stderr, flush=True)
    return figures


def _one(server: Server, connections: int, topics: int, seconds: float) -> Figure:
    # The first requests to each topic create it; which is not to be measured.
    warm_up = max(0.2, topics / 5000)
    measure([server.port], 64, topics, warm_up)
    before = server.cpu_seconds()
    rate, latency = measure([server.port], connections, topics, seconds)
    return Figure(rate, latency, (server.cpu_seconds() - before) / (rate * seconds))


def table(figures: Figures) -> str:
    """Return the medians of all rounds, and the required ratios, as text."""
    head = ("server", "topics", "conns", "req/s", "p50 ms", "CPU µs", "ratio")
    lines = ["{:24}{:>8}{:>7}{:>9}{:>8}{:>8}{:>8}  required".format(*head)]
    for (name, connections, topics), found in sorted(figures.items()):
        rate = statistics.median(each.rate for each in found)
        latency = statistics.median(each.latency for each in found) * 1000
        cpu = statistics.median(each.cpu for each in found) * 1e6
        pairs = zip(found, figures[BARE, connections, topics], strict=True)
        ratio = statistics.median(mine.rate / bare.rate for mine, bare in pairs)
        required = REQUIRED.get((name, topics)) if connections > 1 else None
        line = f"{name:24}{topics:8}{connections:7}{rate:9.0f}{latency:8.3f}{cpu:8.1f}{ratio:8.2f}"
        if required is not None:
            line += f"  ≥ {required}{'' if ratio >= required else '  MISSED'}"
        lines.append(line)
    for topics in TOPICS:
        pairs = zip(figures[MEMCACHED, 1, topics], figures[MEMORY, 1, topics], strict=True)
        ratio = statistics.median(mine.latency / other.latency for mine, other in pairs)
        lines.append(
            f"one connection, {topics} topics: p50 with memcached is {ratio:.2f} times the one "
            f"without, required ≤ {MAX_LATENCY_RATIO:g}"
            f"{'' if ratio <= MAX_LATENCY_RATIO else '  MISSED'}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.publishing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measurement")
    options = parser.parse_args(arguments)
    prepare()
    print(table(run(options.rounds, options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
