"""Nodes on one NATS JetStream stream, beside one that keeps notifications in memory; their load."""

import contextlib
import itertools
import json
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from tests.bench.batches import read_answer, send_batches
from tests.bench.peers import OURS, PEERS, Peer
from tests.bench.processes import Failure, Server, running
from tests.bench.publishing import LENGTH, measure, requests
from tests.support.nats import NatsCluster, NatsProcess
from tests.support.raw_client import handshake

WARM_UP, LEAST = 20, 200
"""Requests before a measurement, and the least that it consists of."""

SYNC_TIMEOUT = 30.0
"""Seconds in which a node must have read the stream."""

STEADY, PACE = 6, 0.01
"""Connections that publish while the leader is stopped, and seconds between their requests."""

BEFORE, AFTER = 0.5, 2.0
"""Seconds of publishing before the leader is stopped, and after it."""

_streams = itertools.count()


class Throughput(NamedTuple):
    """One measurement of many publishers."""

    rate: float
    """Notifications per second."""
    node_cpu: float
    """Processor time of one node per notification, whichever node it was sent to, in seconds."""
    nats_cpu: float
    """The same of one NATS server, which is nearly none for a node in memory."""


def peer(nats: NatsProcess | None, stream: str) -> Peer:
    """Return the command of a node that is connected to `nats`, or keeps everything in memory."""
    ours = next(each for each in PEERS if each.name == OURS)
    if nats is None:
        return ours
    environment = {
        "AIONOTIFY_HEARTBEAT": "0",
        "AIONOTIFY_NATS_URL": nats.url,
        "AIONOTIFY_NATS_STREAM": stream,
    }
    return replace(ours, environment=environment)


def new_stream() -> str:
    """Return a name for a stream that does not exist yet."""
    return f"bench-{next(_streams)}"


@contextlib.contextmanager
def running_nodes(cluster: NatsCluster, count: int, stream: str) -> Iterator[list[Server]]:
    """Run nodes, each connected to another NATS server, on no core in particular.

    No nodes stand for a single one in memory.
    """
    with contextlib.ExitStack() as stack:
        peers = [peer(each, stream) for each in cluster.servers[:count]]
        nodes = []
        for each in peers or [peer(None, stream)]:
            nodes.append(stack.enter_context(running(each, core=None)))
            if peers:
                _await_current(nodes[-1].port)
        yield nodes


def _await_current(port: int) -> None:
    deadline = time.monotonic() + SYNC_TIMEOUT
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            if json.load(answer)["cache_status"] == "connected":
                return
        if time.monotonic() > deadline:
            raise Failure("a node has not read the stream")
        time.sleep(0.01)


def one_at_a_time(nodes: Sequence[Server], seconds: float) -> list[float]:
    """Return the seconds that each `POST` took, when they go to the nodes in turns."""
    request = requests(1)[0]
    found: list[float] = []
    with _connections(nodes) as publishers:
        deadline = time.perf_counter() + seconds
        while len(found) < WARM_UP + LEAST or time.perf_counter() < deadline:
            for each in publishers:
                found.append(_post(each, request))
    return found[WARM_UP:]


def delivered(nodes: Sequence[Server], seconds: float) -> list[float]:
    """Return the seconds from each `POST` until a JSON client of every node had its message."""
    found: list[float] = []
    with _connections(nodes) as publishers, _connections(nodes) as listeners:
        for each in listeners:
            each.sendall(handshake("/ws?format=json"))
            _read_until(each, b'"type":"subscribed"')
        deadline = time.perf_counter() + seconds
        while len(found) < WARM_UP + LEAST or time.perf_counter() < deadline:
            message = f"{len(found):0{LENGTH}}".encode()
            publisher = publishers[len(found) % len(publishers)]
            started = time.perf_counter()
            publisher.sendall(requests(1)[0][:-LENGTH] + message)
            for each in listeners:
                _read_until(each, message)
            found.append(time.perf_counter() - started)
            read_answer(publisher)
    return found[WARM_UP:]


def throughput(
    nodes: Sequence[Server], cluster: NatsCluster, connections: int, seconds: float
) -> Throughput:
    """Measure many publishers, spread over the nodes."""
    ports = [each.port for each in nodes]
    servers = [Server(each.pid, each.port) for each in cluster.servers]
    measure(ports, connections, 1, 0.2)
    before = [sum(each.cpu_seconds() for each in group) for group in (nodes, servers)]
    rate, _ = measure(ports, connections, 1, seconds)
    after = [sum(each.cpu_seconds() for each in group) for group in (nodes, servers)]
    count = rate * seconds
    return Throughput(
        rate,
        (after[0] - before[0]) / count / len(nodes),
        (after[1] - before[1]) / count / len(servers),
    )


def catch_up(cluster: NatsCluster, count: int, topics: int) -> float:
    """Return how many notifications a node that starts reads per second."""
    stream = new_stream()
    with running_nodes(cluster, 1, stream) as nodes:
        empty = _start_seconds(cluster, stream)
        send_batches(nodes[0].port, count, topics)
        return count / (_start_seconds(cluster, stream) - empty)


def _start_seconds(cluster: NatsCluster, stream: str) -> float:
    started = time.perf_counter()
    with running_nodes(cluster, 1, stream):
        return time.perf_counter() - started


def slowest_post(cluster: NatsCluster, number: signal.Signals) -> float:
    """Send a signal to the server that leads the stream; return the seconds of the slowest `POST`.

    There are three nodes, of which one is connected to that server.
    """
    stream = new_stream()
    with running_nodes(cluster, 3, stream) as nodes:
        ended = threading.Event()
        with ThreadPoolExecutor(STEADY) as pool:
            ports = [nodes[index % len(nodes)].port for index in range(STEADY)]
            publishers = [pool.submit(_post_steadily, port, ended) for port in ports]
            try:
                time.sleep(BEFORE)
                leader = cluster.leader(stream)
                stopped = time.perf_counter()
                leader.signal(number)
                time.sleep(AFTER)
            finally:
                ended.set()
            posts = [post for each in publishers for post in each.result()]
        leader.kill()
        leader.start()
        cluster.wait_in_sync(stream)
    return max(seconds for at, seconds in posts if at + seconds > stopped)


def _post_steadily(port: int, ended: threading.Event) -> list[tuple[float, float]]:
    """Return when each `POST` began, and the seconds that it took."""
    found = []
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        while not ended.wait(PACE):
            started = time.perf_counter()
            # Some elections take longer than a node waits: that is 503.
            found.append((started, _post(connection, requests(1)[0], (201, 503))))
    return found


@contextlib.contextmanager
def _connections(nodes: Sequence[Server]) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", each.port), 30))
            for each in nodes
        ]


def _post(connection: socket.socket, request: bytes, statuses: Sequence[int] = (201,)) -> float:
    started = time.perf_counter()
    connection.sendall(request)
    read_answer(connection, statuses)
    return time.perf_counter() - started


def _read_until(connection: socket.socket, text: bytes) -> None:
    data = b""
    while text not in data:
        chunk = connection.recv(65536)
        if not chunk:
            raise Failure("a client was disconnected")
        data += chunk
