"""`GET /health` on keep-alive connections: requests per second, and latency under load."""

import select
import socket
import time

from tests.bench.clients import Crowd
from tests.bench.processes import Failure

CONNECTIONS = 16
"""Connections that measure requests per second, each with one request at a time."""


def requests_per_second(port: int, seconds: float) -> float:
    """Return the requests per second of `CONNECTIONS` connections within `seconds`."""
    sockets = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(CONNECTIONS)]
    try:
        for each in sockets:
            size = ask(each, port)
            each.setblocking(False)
        return _ask_all({each.fileno(): each for each in sockets}, _request(port), size, seconds)
    finally:
        for each in sockets:
            each.close()


def _ask_all(sockets: dict[int, socket.socket], request: bytes, size: int, seconds: float) -> float:
    left = dict.fromkeys(sockets, size)
    answers = 0
    with select.epoll() as poll:
        for fd, each in sockets.items():
            poll.register(fd, select.EPOLLIN)
            each.send(request)
        started = time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            for fd, _ in poll.poll(5):
                got = len(sockets[fd].recv(65536))
                left[fd] -= got
                if not got or left[fd] < 0:
                    raise Failure("/health changed its response")
                if left[fd] == 0:
                    answers += 1
                    left[fd] = size
                    sockets[fd].send(request)
    return answers / elapsed


def ask(connection: socket.socket, port: int) -> int:
    """Request once on a blocking socket. Return the size of the response, which never changes."""
    connection.sendall(_request(port))
    answer = b""
    while b"}" not in answer:
        chunk = connection.recv(65536)
        if not chunk:
            raise Failure("/health closed the connection")
        answer += chunk
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise Failure(f"/health responded {answer[:100]!r}")
    return len(answer)


class Probe:
    """Requests `/health` when the first client gets a message, and measures the latency."""

    def __init__(self, crowd: Crowd) -> None:
        self._port = crowd.port
        self._connection = crowd.open()
        ask(self._connection, self._port)
        crowd.add(self._connection, self._answered)
        fd, self._first = next(iter(crowd.sockets.items()))
        crowd.replace(fd, self._delivered)
        self._asked = 0.0
        self.seconds: list[float] = []
        """The latency of each request."""

    def _delivered(self, buffer: memoryview) -> int:
        self._asked = time.perf_counter()
        self._connection.send(_request(self._port))
        return self._first.recv_into(buffer)

    def _answered(self, buffer: memoryview) -> int:
        self.seconds.append(time.perf_counter() - self._asked)
        return self._connection.recv_into(buffer)


def _request(port: int) -> bytes:
    return f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
