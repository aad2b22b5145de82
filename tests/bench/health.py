"""`GET /health` over kept connections: how many a second, and how long one takes under load."""

import select
import socket
import time

from tests.bench.clients import Crowd
from tests.bench.processes import Failure

CONNECTIONS = 16


def requests_per_second(port: int, seconds: float) -> float:
    """Answers a second, each connection asking anew when it has its answer."""
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
                    raise Failure("/health did not answer as before")
                if left[fd] == 0:
                    answers += 1
                    left[fd] = size
                    sockets[fd].send(request)
    return answers / elapsed


def ask(connection: socket.socket, port: int) -> int:
    """Ask once, on a blocking socket: the answer's size, which is the same every time."""
    connection.sendall(_request(port))
    answer = b""
    while b"}" not in answer:
        chunk = connection.recv(65536)
        if not chunk:
            raise Failure("/health closed the connection")
        answer += chunk
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise Failure(f"/health answered {answer[:100]!r}")
    return len(answer)


class Probe:
    """Asks when the first of a crowd has a message, and notes when the answer is there."""

    def __init__(self, crowd: Crowd) -> None:
        self._port = crowd.port
        self._connection = crowd.open()
        ask(self._connection, self._port)
        crowd.add(self._connection, self._answered)
        fd, self._first = next(iter(crowd.sockets.items()))
        crowd.replace(fd, self._delivered)
        self._asked = 0.0
        self.seconds: list[float] = []

    def _delivered(self, buffer: memoryview) -> int:
        self._asked = time.perf_counter()
        self._connection.send(_request(self._port))
        return self._first.recv_into(buffer)

    def _answered(self, buffer: memoryview) -> int:
        self.seconds.append(time.perf_counter() - self._asked)
        return self._connection.recv_into(buffer)


def _request(port: int) -> bytes:
    return f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
