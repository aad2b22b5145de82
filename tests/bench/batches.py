"""100,000 notifications to 100,000 topics: as NDJSON, and one `POST` for each.

`python -m tests.bench.batches` prints the rates, and the memory that a topic takes. Linux only.
"""

import argparse
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.bench.processes import Failure, Server, prepare, running
from tests.bench.publishing import MEMCACHED, MEMORY, measure, servers

TOPICS = 100_000
LINES = 1000
LENGTH = 64
CONNECTIONS = 16


class Figure(NamedTuple):
    """One measurement."""

    rate: float
    """Notifications per second."""
    cpu: float
    """Processor time of the server per notification, in seconds."""
    topic_bytes: float
    """Resident memory of the server per topic with one notification."""


def batches(count: int, topics: int) -> Iterator[bytes]:
    """Yield requests of `LINES` lines, `count` in all, which name `topics` in turns."""
    for first in range(0, count, LINES):
        lines = (
            f'{{"topic":"user.{number % topics}","message":"{number:0{LENGTH}}"}}\n'
            for number in range(first, first + LINES)
        )
        body = "".join(lines).encode()
        head = b"POST /notifications HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += b"Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n"
        yield head % len(body) + body


def send_batches(port: int, count: int, topics: int) -> float:
    """Send them over one connection, one after another; return the seconds it took."""
    requests = list(batches(count, topics))
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        started = time.perf_counter()
        for request in requests:
            connection.sendall(request)
            read_answer(connection)
        return time.perf_counter() - started


def read_answer(connection: socket.socket, statuses: Sequence[int] = (201,)) -> None:
    """Read the answer to a `POST`. Raise Failure if it has another status."""
    answer = connection.recv(65536)
    if not answer.startswith(tuple(b"HTTP/1.1 %d " % each for each in statuses)):
        raise Failure(f"POST was answered with {answer[:100]!r}")
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    left = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]) - len(body)
    while left > 0:
        left -= len(connection.recv(min(left, 1 << 20)))


def as_batches(server: Server) -> Figure:
    """Measure NDJSON."""
    memory, before = server.resident_bytes(), server.cpu_seconds()
    seconds = send_batches(server.port, TOPICS, TOPICS)
    cpu = server.cpu_seconds() - before
    return Figure(TOPICS / seconds, cpu / TOPICS, (server.resident_bytes() - memory) / TOPICS)


def as_requests(server: Server, seconds: float) -> Figure:
    """Measure one `POST` for each notification, each to a topic of its own, for some seconds."""
    memory, before = server.resident_bytes(), server.cpu_seconds()
    rate, _ = measure([server.port], CONNECTIONS, TOPICS, seconds)
    count = rate * seconds
    cpu = server.cpu_seconds() - before
    return Figure(rate, cpu / count, (server.resident_bytes() - memory) / min(count, TOPICS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.batches", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the single requests")
    options = parser.parse_args(arguments)
    prepare()
    figures: dict[tuple[str, str], list[Figure]] = {}
    with servers() as peers:
        for _ in range(options.rounds):
            for name in (MEMORY, MEMCACHED):
                with running(peers[name]) as server:
                    figures.setdefault((name, "NDJSON"), []).append(as_batches(server))
                with running(peers[name]) as server:
                    found = as_requests(server, options.seconds)
                    figures.setdefault((name, "POST each"), []).append(found)
    print(f"{'server':24}{'request':12}{'/s':>9}{'CPU µs':>9}{'bytes per topic':>17}")
    for (name, request), measured in figures.items():
        rate = statistics.median(each.rate for each in measured)
        cpu = statistics.median(each.cpu for each in measured)
        size = statistics.median(each.topic_bytes for each in measured)
        print(f"{name:24}{request:12}{rate:9.0f}{cpu * 1e6:9.1f}{size:17.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
