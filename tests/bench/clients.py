"""The load: raw sockets on epoll, which count bytes and parse nothing.

Parsing frames in Python would take longer than the server takes, and so measure the clients.
"""

import select
import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType

from tests.bench.processes import Failure
from tests.support.raw_client import handshake

WINDOW = 100
"""Clients that connect at the same time. No server here has a shorter backlog."""

PORTS = 20_000
"""Clients per local address. Beyond that, the next 127.0.0.x is used: ports would run out."""

STALLED_BUFFER = 4096
"""Bytes of the receive buffer of a client that reads nothing, so that it stalls at once."""

Receive = Callable[[memoryview], int]
"""Reads from a socket into a buffer, and returns the number of bytes."""


class Crowd:
    """The clients of one server, and a publisher."""

    def __init__(self, port: int, publish_path: str) -> None:
        self.port = port
        self.sockets: dict[int, socket.socket] = {}
        self._others: list[socket.socket] = []
        self._receivers: dict[int, Receive] = {}
        self._poll = select.epoll()
        self._buffer = memoryview(bytearray(1 << 20))
        self._publisher = self.open()
        self._publisher.settimeout(10)
        self._publisher.sendall(handshake(publish_path))
        answer = self._publisher.recv(65536)
        if b" 101 " not in answer:
            raise Failure(f"the publisher got {answer[:100]!r}")
        self.add(self._publisher)

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Reset all connections, so that no port stays in TIME_WAIT."""
        for each in (*self.sockets.values(), *self._others):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
        self._poll.close()

    def open(self) -> socket.socket:
        """Return a new connection, closed together with the crowd. Nothing is read from it."""
        number = len(self.sockets) + len(self._others)
        source = (f"127.0.0.{1 + number // PORTS}", 0) if number >= PORTS else None
        opened = socket.create_connection(("127.0.0.1", self.port), 10, source)
        self._others.append(opened)
        return opened

    def add(self, other: socket.socket, receive: Receive | None = None) -> None:
        """Read from `other` as well, with `receive`, whenever the clients are read from."""
        other.setblocking(False)
        self._receivers[other.fileno()] = receive or other.recv_into
        self._poll.register(other, select.EPOLLIN)

    def replace(self, fd: int, receive: Receive) -> None:
        """Read from the client with file descriptor `fd` with `receive` from now on."""
        self._receivers[fd] = receive

    def connect(
        self,
        count: int,
        recents: int = 0,
        seconds: float = 60,
        path: str | Callable[[int], str] = "/ws",
    ) -> None:
        """Connect `count` more clients. Each gets a response head and `recents` bytes after it.

        `path` may depend on the number of the client.
        """
        deadline = time.monotonic() + seconds
        pending: dict[int, bytes] = {}
        opened = 0
        while opened < count or pending:
            while opened < count and len(pending) < WINDOW:
                client = socket.socket()
                self._connect(client)
                client.send(handshake(path if isinstance(path, str) else path(opened)))
                self._poll.register(client, select.EPOLLIN)
                pending[client.fileno()] = b""
                opened += 1
            for fd, _ in self._events(deadline, f"only {len(self.sockets)} clients are connected"):
                if fd not in pending:
                    self._receivers[fd](self._buffer)
                elif self._is_complete(fd, pending, recents):
                    del pending[fd]

    def _connect(self, client: socket.socket) -> None:
        number = len(self.sockets)
        if number >= PORTS:
            client.bind((f"127.0.0.{1 + number // PORTS}", 0))
        client.settimeout(10)
        client.connect(("127.0.0.1", self.port))
        client.setblocking(False)
        fd = client.fileno()
        self.sockets[fd] = client
        self._receivers[fd] = client.recv_into

    def _is_complete(self, fd: int, pending: dict[int, bytes], recents: int) -> bool:
        """Read from a connecting client. Return whether it has received everything."""
        got = self._receivers[fd](self._buffer)
        pending[fd] += bytes(self._buffer[:got])
        head, end, rest = pending[fd].partition(b"\r\n\r\n")
        if not got or (end and (not _accepted(head) or len(rest) > recents)):
            raise Failure(f"a client got {pending[fd][:300]!r}")
        return bool(end) and len(rest) == recents

    def connect_stalled(self, count: int) -> None:
        """Connect `count` clients that read the start of the response head and nothing more."""
        for _ in range(count):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER)
            client.settimeout(10)
            client.connect(("127.0.0.1", self.port))
            client.sendall(handshake())
            client.recv(16)
            self._others.append(client)

    def publish(self, frames: bytes) -> None:
        """Send `frames` from the publisher in one write."""
        sent = self._publisher.send(frames)
        if sent != len(frames):
            raise Failure("the publisher's messages were not accepted")

    def receive(self, size: int, seconds: float = 20) -> float:
        """Wait until every client has received exactly `size` more bytes. Return the time then."""
        left = dict.fromkeys(self.sockets, size)
        waiting = len(left)
        deadline = time.monotonic() + seconds
        receivers, buffer = self._receivers, self._buffer
        while waiting:
            for fd, _ in self._events(deadline, f"{waiting} of {len(left)} clients are incomplete"):
                got = receivers[fd](buffer)
                if fd in left:
                    left[fd] -= got
                    if left[fd] == 0:
                        waiting -= 1
                    if not got or left[fd] < 0:
                        raise Failure(
                            "a client got too much" if got else "a client was disconnected"
                        )
        return time.perf_counter()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Read until `condition` holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            for fd, _ in self._events(deadline, "the condition does not hold"):
                self._receivers[fd](self._buffer)

    def _events(self, deadline: float, problem: str) -> list[tuple[int, int]]:
        timeout = deadline - time.monotonic()
        events = self._poll.poll(timeout, 512) if timeout > 0 else []
        if not events:
            raise Failure(f"time-out: {problem}")
        return events


def _accepted(head: bytes) -> bool:
    return head.startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 200 "))


def frame_size(length: int) -> int:
    """Return the size of a server's frame with a payload of `length` bytes (RFC 6455 §5.2)."""
    return length + (2 if length < 126 else 4 if length < 65536 else 10)
