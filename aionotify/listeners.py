"""Listening sockets: bound before the start, and closed without resetting clients in the queue."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from aiohttp import web

from aionotify.errors import ListenError
from aionotify.http.protocol import Limits, connection_factory
from aionotify.net import Address
from aionotify.settings import Settings

BACKLOG = 4096
"""Connections that may wait to be accepted: many clients reconnect at once after a restart."""

ACCEPTS_PER_TURN = 100
"""Connections that are accepted before the event loop goes on to other clients."""

CLOSING_ROUNDS = 10
"""How often the queue is emptied on stopping, if clients connect as fast as it is emptied."""

LAST_REQUEST_TIMEOUT = 0.05
"""Seconds in which the request of a client that has just connected must arrive on stopping."""

RESPONSE_TIMEOUT = 1.0
"""How long plain HTTP requests may still take when the server stops, in seconds."""

# A machine or container without IPv6 has no ::1 (EADDRNOTAVAIL), or no such sockets at all.
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Sockets(NamedTuple):
    """The bound sockets of a server."""

    main: list[socket.socket]
    metrics: list[socket.socket]
    """Those of `AIONOTIFY_METRICS_PORT`; empty if it is unset."""


class Site:
    """An application that listens on sockets."""

    def __init__(self, app: web.Application, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        self._listeners: list[asyncio.Server] = []
        self._runner = web.AppRunner(app, shutdown_timeout=RESPONSE_TIMEOUT)
        self._new_protocol: Callable[[], asyncio.Protocol]

    async def start(self, limits: Limits) -> None:
        """Start the application, and accept connections. Raise ListenError."""
        await self._runner.setup()
        assert self._runner.server is not None
        self._new_protocol = connection_factory(self._runner.server, limits)
        self._listeners = await listen(self._new_protocol, self._sockets)

    async def close(self) -> None:
        """Stop listening. Clients in the queue, which the system would reset, are connected."""
        if not self._listeners:
            return
        for _ in range(CLOSING_ROUNDS):
            queued = _accept_queued(self._sockets)
            await self._connect(queued)
            if not queued:
                break
        # asyncio (Python 3.11 to 3.13) accepts a connection in one turn of the loop, and gives it a
        # transport in the next, which fails in a closed listener and resets the connection. With
        # the queue empty, this turn accepts nothing, and the last one's transports are made next.
        await asyncio.sleep(0)
        queued = _accept_queued(self._sockets)
        # `AppRunner.cleanup` knows only the sites that it has opened itself.
        for listener in self._listeners:
            listener.close()
        await self._connect(queued)

    async def _connect(self, accepted: Sequence[socket.socket]) -> None:
        """Let the application serve `accepted` connections."""
        loop = asyncio.get_running_loop()
        for each in accepted:
            with contextlib.suppress(OSError):  # the client has gone
                await loop.connect_accepted_socket(self._new_protocol, each)

    async def stop(self) -> None:
        """Stop the application: close its clients."""
        await self._runner.cleanup()


def bind(settings: Settings) -> Sockets:
    """Return a bound socket for each address and port. Raise ListenError."""
    if settings.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise ListenError("this system has no SO_REUSEPORT; unset AIONOTIFY_REUSE_PORT")
    main = _bind_port(settings, settings.port, "AIONOTIFY_PORT", settings.reuse_port)
    if not settings.metrics_port:
        return Sockets(main, [])
    try:
        return Sockets(main, _bind_port(settings, settings.metrics_port, "AIONOTIFY_METRICS_PORT"))
    except ListenError:
        _close(main)
        raise


async def listen(
    connect: Callable[[], asyncio.Protocol], sockets: Sequence[socket.socket]
) -> list[asyncio.Server]:
    """Accept connections on `sockets`. Raise ListenError."""
    loop = asyncio.get_running_loop()
    listeners = []
    for bound in sockets:
        # asyncio (Python 3.11 to 3.13) takes `backlog` for the number of accepts per turn of the
        # loop as well. Each of them fails when files run out, and is reported: with 4,096, the
        # server did nothing else, and logged 75,000 tracebacks per second (cpython#151615).
        try:
            listener = await loop.create_server(connect, sock=bound, backlog=ACCEPTS_PER_TURN)
        except OSError as error:  # on a shared port, if another program was faster
            raise _listen_error(
                Address(*bound.getsockname()[:2]), "AIONOTIFY_PORT", error
            ) from error
        listeners.append(listener)
        bound.listen(BACKLOG)  # create_server has called it with its own backlog
    return listeners


def _accept_queued(sockets: Sequence[socket.socket]) -> list[socket.socket]:
    """Accept waiting connections: the system resets those in the queue of a closed socket."""
    accepted: list[socket.socket] = []
    for each in sockets:
        with contextlib.suppress(OSError):  # BlockingIOError: none is left; or files run out
            while len(accepted) < BACKLOG:  # more may come in as fast
                connection, _ = each.accept()
                connection.setblocking(False)
                accepted.append(connection)
    return accepted


def _bind_port(
    settings: Settings, port: int, variable: str, reuse_port: bool = False
) -> list[socket.socket]:
    """Return one bound socket for each address, all on the same port. Raise ListenError."""
    sockets: dict[str, socket.socket] = {}
    try:
        for host in settings.hosts:
            try:
                # `localhost` is not looked up: the result depends on the hosts file, which may lack
                # ::1, and that is the address that browsers try first.
                found = ["127.0.0.1", "::1"] if host == "localhost" else _resolve(host)
                for address in found:
                    if address not in sockets and (
                        bound := _bind_one(address, port, settings.hosts, reuse_port)
                    ):
                        sockets[address] = bound
                        # Port 0 picks a free one for the first address; the others use the same.
                        port = bound.getsockname()[1]
            except OSError as error:
                raise _listen_error(Address(host, port), variable, error) from error
    except ListenError:
        _close(sockets.values())
        raise
    return list(sockets.values())


def _bind_one(
    address: str, port: int, hosts: Sequence[str], reuse_port: bool
) -> socket.socket | None:
    """Return a bound socket, or None for the ::1 of `localhost` on a machine without IPv6."""
    # `::` means every address to nginx, Docker and Go; `0.0.0.0` beside it needs a socket of its
    # own, which the system refuses if this one has IPv4 already.
    both = address == "::" and "0.0.0.0" not in hosts and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        if reuse_port:
            return _bind_shared(address, port, family, both)
        # Python 3.11 sets IPV6_V6ONLY, so 127.0.0.1 and ::1 never compete for the port. It leaves
        # SO_REUSEADDR out on Windows, where that would let two servers share it.
        return socket.create_server(
            (address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        if address == "::1" and "localhost" in hosts and error.errno in _NO_IPV6:
            return None
        raise


def _bind_shared(
    address: str, port: int, family: socket.AddressFamily, both: bool
) -> socket.socket:
    """Return a bound socket that does not listen yet, on a port that others may have."""
    # Not socket.create_server, which listens: the system would give this process clients before it
    # accepts any, seconds later, while the others on the port could serve them.
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


def _resolve(host: str) -> Iterator[str]:
    """Iterate over the addresses of `host`, in the order of the resolver."""
    for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        yield str(info[4][0])


def _listen_error(address: Address, variable: str, error: OSError) -> ListenError:
    # Python 3.11 appends "(while attempting to bind on address …)", the address a second time.
    reason = str(error.strerror or error).partition(" (while ")[0]
    return ListenError(
        f"cannot listen on {address}: {reason}; choose another with AIONOTIFY_HOST and {variable}"
    )


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()
