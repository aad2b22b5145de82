"""Listening sockets: their queues, and ports that processes share."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

import pytest
from aiohttp import web

from aionotify.errors import ListenError
from aionotify.http.protocol import Limits
from aionotify.listeners import ACCEPTS_PER_TURN, BACKLOG, LAST_REQUEST_TIMEOUT, Site, bind, listen
from aionotify.stats import Stats
from tests.support import alone, free_port

Loop = asyncio.AbstractEventLoop

LOOPS = [asyncio.new_event_loop]
with contextlib.suppress(ImportError):  # Windows
    import uvloop

    LOOPS.append(uvloop.new_event_loop)


@pytest.mark.parametrize("factory", LOOPS)
def test_backlog_is_not_the_number_of_accepts(factory: Callable[[], Loop]) -> None:
    """Both are one argument in asyncio; a small one for both would refuse a reconnecting crowd."""
    listened: list[int] = []

    class Bound(socket.socket):
        """A socket that notes the length of its backlog."""

        def listen(self, backlog: int = 0, /) -> None:
            listened.append(backlog)
            super().listen(backlog)

    async def listen_once() -> None:
        with Bound() as bound:
            bound.bind(("127.0.0.1", 0))
            (listener,) = await listen(asyncio.Protocol, [bound])
            listener.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(listen_once())
    assert listened[-1] == BACKLOG
    if factory is asyncio.new_event_loop:  # uvloop calls the system itself
        assert listened[0] == ACCEPTS_PER_TURN


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("factory", LOOPS)
def test_close_resets_no_connection(factory: Callable[[], Loop], turns: int) -> None:
    """Whichever step of accepting a connection the event loop is about to take."""

    async def close_site(clients: list[socket.socket]) -> None:
        sockets = bind(alone()).main
        site = Site(web.Application(), sockets)
        await site.start(Limits(1, 1, Stats()))
        for _ in range(150):
            clients.append(socket.create_connection(sockets[0].getsockname()))
            clients[-1].sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        for _ in range(turns):
            await asyncio.sleep(0)
        await site.close()
        await asyncio.sleep(LAST_REQUEST_TIMEOUT)
        await site.stop()

    clients: list[socket.socket] = []
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(close_site(clients))
    responses = [received(client) for client in clients]
    assert responses.count(b"HTTP/1.1 404") == 150


def received(client: socket.socket) -> bytes:
    """Return the status line that a client has, or nothing, and close its connection."""
    with client, contextlib.suppress(OSError):  # reset, or left open without a response
        client.setblocking(False)
        return client.recv(12)
    return b""


def bound_to(port: int, *, shared: bool) -> socket.socket:
    """Bind one socket."""
    (bound,) = bind(alone(port=port, reuse_port=shared)).main
    return bound


def test_port_is_shared_only_if_both_want_it() -> None:
    """A program that was started by mistake must not take half of the clients."""
    port = free_port()
    for first, second in ((True, False), (False, True), (False, False)):
        with bound_to(port, shared=first) as bound:
            bound.listen()
            with pytest.raises(ListenError, match="Address already in use; choose another"):
                bound_to(port, shared=second)
    with bound_to(port, shared=True) as one, bound_to(port, shared=True) as two:
        one.listen()
        two.listen()


async def test_program_that_listens_first_gets_the_port() -> None:
    """Between binding and listening, the system lets a program have it that does not share."""
    port = free_port()
    with (
        bound_to(port, shared=True) as late,
        bound_to(port, shared=False),
        pytest.raises(ListenError) as caught,
    ):
        await listen(asyncio.Protocol, [late])
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with "
        "AIONOTIFY_HOST and AIONOTIFY_PORT"
    )


def test_shared_port_gets_no_clients_before_the_start() -> None:
    """They would wait for seconds, while another process could serve them."""
    with bound_to(free_port(), shared=True) as bound, pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound.getsockname())
    with bound_to(free_port(), shared=False) as bound:
        socket.create_connection(bound.getsockname()).close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::", "::,0.0.0.0", "localhost"])
def test_addresses_of_a_shared_port_are_the_same(host: str) -> None:
    shared, single = (
        bind(alone(host=host, port=free_port(), reuse_port=reuse_port)).main
        for reuse_port in (True, False)
    )
    for one, other in zip(shared, single, strict=True):
        with one, other:
            assert one.getsockname()[0] == other.getsockname()[0]
            option = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            if one.family == socket.AF_INET6:
                assert one.getsockopt(*option) == other.getsockopt(*option)


def test_system_without_shared_ports_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example Windows."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(ListenError) as caught:
        bind(alone(reuse_port=True))
    assert str(caught.value) == "this system has no SO_REUSEPORT; unset AIONOTIFY_REUSE_PORT"
