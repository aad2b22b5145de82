"""The stall time-out, and how far a client has accepted what it was sent."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

import aionotify.stall
from aionotify.stall import STALL_CHECKS, Acceptance, StallTimer, acceptance
from tests.support.loop import HandLoop

TIMEOUT = 8.0


class Connection:
    """A transport of which a test says how far the peer has accepted the data."""

    def __init__(self, unsent: int = 0, connection: Any = None) -> None:
        self.now = Acceptance(0, True)
        self.unsent = unsent
        self.connection = connection
        self.stalled = 0
        self.progressed = 0

    def get_extra_info(self, name: str) -> Any:
        return self.connection if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def on_stall(self) -> None:
        self.stalled += 1

    def on_progress(self) -> None:
        self.progressed += 1

    def watch(self, on_progress: Callable[[], None] | None = None) -> StallTimer:
        transport = cast(asyncio.WriteTransport, self)
        return StallTimer(transport, TIMEOUT, self.on_stall, on_progress)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A connection on which data waits."""
    made = Connection()
    monkeypatch.setattr(aionotify.stall, "acceptance", lambda transport: made.now)
    return made


def test_stall_is_reported_once(loop: HandLoop, connection: Connection) -> None:
    """After the time-out, and at most a check later."""
    connection.watch()
    loop.advance(TIMEOUT - 0.1)
    assert connection.stalled == 0
    loop.advance(TIMEOUT / STALL_CHECKS + 0.2)
    assert connection.stalled == 1
    assert loop.timers == 0


def test_progress_restarts_the_time_out(loop: HandLoop, connection: Connection) -> None:
    """A byte now and then is enough, while as much is added as is accepted."""
    connection.watch()
    for accepted in range(1, 20):
        loop.advance(TIMEOUT * 0.7)
        connection.now = Acceptance(accepted, True)
    assert connection.stalled == 0
    loop.advance(TIMEOUT * 1.6)
    assert connection.stalled == 1


def test_cancel_stops_watching(loop: HandLoop, connection: Connection) -> None:
    timer = connection.watch()
    timer.cancel()
    timer.cancel()
    loop.advance(TIMEOUT * 3)
    assert (connection.stalled, loop.timers) == (0, 0)


@pytest.mark.parametrize("later", [Acceptance(1, True), Acceptance(0, False)])
def test_progress_may_end_the_watch(
    loop: HandLoop, connection: Connection, later: Acceptance
) -> None:
    """With a callback, progress is reported, and nothing is left behind."""
    connection.watch(connection.on_progress)
    loop.advance(TIMEOUT / 2)
    assert connection.progressed == 0
    connection.now = later
    loop.advance(TIMEOUT / 2)
    assert (connection.progressed, connection.stalled, loop.timers) == (1, 0, 0)


# ------------------------------------------------------------------ what the kernel acknowledges


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection over loopback; the second one has a small buffer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with socket.create_connection(listener.getsockname()) as here:
            there, _ = listener.accept()
            with there:
                here.setblocking(False)
                yield here, there


def look(connection: socket.socket | None, unsent: int = 0) -> Acceptance:
    """Return the acceptance of a transport with this socket."""
    return acceptance(cast(asyncio.WriteTransport, Connection(unsent, connection)))


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="Linux only")
def test_reading_is_progress(pair: tuple[socket.socket, socket.socket]) -> None:
    """What the peer reads shows, although the sender could not write anything meanwhile."""
    here, there = pair
    sent = here.send(b"x" * (1 << 22))
    assert sent > 100_000
    before = look(here)
    assert before.outstanding
    there.recv(20_000, socket.MSG_WAITALL)
    after = look(here)
    assert after.accepted > before.accepted
    there.recv(sent - 20_000, socket.MSG_WAITALL)
    assert look(here).accepted > after.accepted
    assert not look(here).outstanding


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="Linux only")
def test_not_reading_is_no_progress(pair: tuple[socket.socket, socket.socket]) -> None:
    here, _ = pair
    here.send(b"x" * (1 << 22))
    before = look(here)
    assert before.outstanding
    assert look(here) == before


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="not on Windows")
def test_unix_socket_is_judged_by_its_buffer() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        assert look(here, unsent=7) == Acceptance(-7, True)


def test_buffer_counts_without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS and Windows, and on transports without a socket."""
    assert look(None, unsent=7) == Acceptance(-7, True)
    assert look(None) == Acceptance(0, False)
    monkeypatch.delattr(socket, "TCP_INFO", raising=False)
    with socket.socket() as unused:
        assert look(unused, unsent=3) == Acceptance(-3, True)
