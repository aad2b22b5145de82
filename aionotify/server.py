"""The server process: listening sockets, signals, start and stop."""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aiohttp import web

from aionotify.app import create_app
from aionotify.build import running_build
from aionotify.errors import ListenError
from aionotify.http.malformed import drop_malformed_requests
from aionotify.http.protocol import Limits, connection_factory
from aionotify.incidents import Incidents
from aionotify.keys import HUB
from aionotify.limits import raise_file_limit
from aionotify.net import Address, is_loopback
from aionotify.settings import Settings

logger = logging.getLogger(__name__)

BACKLOG = 4096
"""Connections that may wait to be accepted: many clients reconnect at once after a restart."""

ACCEPTS_PER_TURN = 100
"""Connections that are accepted before the event loop goes on to other clients."""

RESPONSE_TIMEOUT = 1.0
"""How long plain HTTP requests may still take when the server stops, in seconds."""

CONNECTABLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Wildcard addresses, and an address that a client can use instead."""

# A machine or container without IPv6 has no ::1 (EADDRNOTAVAIL), or no such sockets at all.
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

_OUT_OF_FILES = "socket.accept() out of system resource"
"""The message with which asyncio (Python 3.11 to 3.13) reports that accepting failed."""


async def serve(settings: Settings) -> int:
    """Serve until a signal. Return the exit status: 0, or 2 if it cannot listen."""
    raise_file_limit()
    app = create_app(settings)
    # Before anything that takes time, such as probing memcached, so that a signal ends that too.
    stop = asyncio.Event()
    _stop_on_signals(stop, app[HUB].hurry)
    drop_malformed_requests()
    # Bound before the application starts: a port in use is reported at once and not after memcached
    # has been probed, and clients that are early wait in the backlog instead of being refused.
    try:
        sockets = _bind(settings)
    except ListenError as error:
        logger.error("%s", error)
        return 2
    _log_start(settings, app[HUB].max_connections)
    await _run(app, settings, sockets, stop)
    logger.info("stopped")
    return 0


async def _run(
    app: web.Application, settings: Settings, sockets: Sequence[socket.socket], stop: asyncio.Event
) -> None:
    """Run `app` on `sockets` until `stop` is set."""
    runner = web.AppRunner(app, shutdown_timeout=RESPONSE_TIMEOUT)
    await runner.setup()
    assert runner.server is not None
    limits = Limits(settings.keepalive_timeout, settings.stall_timeout, app[HUB].stats)
    listeners: list[asyncio.Server] = []
    try:
        connect = connection_factory(runner.server, limits)
        listeners += await _listen(connect, sockets, app[HUB].stats.incidents)
        _log_urls(settings, sockets)
        _warn_if_exposed(settings, sockets)
        await stop.wait()
        logger.info("stopping: clients are being closed")
    finally:
        # First, so that clients that are closed now reconnect to another server, not to this one.
        # `runner.cleanup` knows only the sites that it has opened itself.
        for listener in listeners:
            listener.close()
        await runner.cleanup()


async def _listen(
    connect: Callable[[], asyncio.Protocol], sockets: Sequence[socket.socket], incidents: Incidents
) -> list[asyncio.Server]:
    """Accept connections on `sockets`."""
    loop = asyncio.get_running_loop()

    def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context["message"] == _OUT_OF_FILES:
            incidents.out_of_files(str(context["exception"].strerror))
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(on_error)
    listeners = []
    for bound in sockets:
        # asyncio (Python 3.11 to 3.13) takes `backlog` for the number of accepts per turn of the
        # loop as well. Each of them fails when files run out, and is reported: with 4,096, the
        # server did nothing else, and logged 75,000 tracebacks per second (cpython#151615).
        listener = await loop.create_server(connect, sock=bound, backlog=ACCEPTS_PER_TURN)
        listeners.append(listener)
        bound.listen(BACKLOG)  # create_server has called it with its own backlog
    return listeners


def _bind(settings: Settings) -> list[socket.socket]:
    """Return one bound socket for each address, all on the same port. Raise ListenError."""
    sockets: dict[str, socket.socket] = {}
    port = settings.port
    try:
        for host in settings.hosts:
            try:
                # `localhost` is not looked up: the result depends on the hosts file, which may lack
                # ::1, and that is the address that browsers try first.
                found = ["127.0.0.1", "::1"] if host == "localhost" else _resolve(host)
                for address in found:
                    if address not in sockets and (bound := _bind_one(address, port, settings)):
                        sockets[address] = bound
                        # Port 0 picks a free one for the first address; the others use the same.
                        port = bound.getsockname()[1]
            except OSError as error:
                raise _listen_error(Address(host, port), error) from error
    except ListenError:
        for each in sockets.values():
            each.close()
        raise
    return list(sockets.values())


def _bind_one(address: str, port: int, settings: Settings) -> socket.socket | None:
    """Return a bound socket, or None for the ::1 of `localhost` on a machine without IPv6."""
    # Python 3.11 sets IPV6_V6ONLY, so 127.0.0.1 and ::1 never compete for the port. It leaves
    # SO_REUSEADDR out on Windows, where that would let two servers share it.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # `::` means every address to nginx, Docker and Go; `0.0.0.0` beside it needs a socket of its
    # own, which the system refuses if this one has IPv4 already.
    both = address == "::" and "0.0.0.0" not in settings.hosts and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        if address == "::1" and "localhost" in settings.hosts and error.errno in _NO_IPV6:
            return None
        raise


def _resolve(host: str) -> Iterator[str]:
    """Iterate over the addresses of `host`, in the order of the resolver."""
    for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        yield str(info[4][0])


def _listen_error(address: Address, error: OSError) -> ListenError:
    # Python 3.11 appends "(while attempting to bind on address …)", the address a second time.
    reason = str(error.strerror or error).partition(" (while ")[0]
    return ListenError(
        f"cannot listen on {address}: {reason}; choose another with AIONOTIFY_HOST and "
        "AIONOTIFY_PORT"
    )


def _log_start(settings: Settings, max_connections: int) -> None:
    """Log the line that a report of a fault should begin with."""
    build = running_build()
    tokens = {"publish": settings.admin_tokens, "subscribe": settings.user_tokens}
    closed = settings.accepts_jwts
    rights = [
        f"{'tokens' if found or closed else 'anyone'} may {verb}" for verb, found in tokens.items()
    ]
    logger.info(
        "aionotify %s, Python %s, %s: at most %s clients, %s bytes per message, %s notifications "
        "per topic; %s",
        build.version,
        build.python,
        build.event_loop,
        f"{max_connections:,}",
        f"{settings.max_message_bytes:,}",
        f"{settings.history_limit:,}",
        ", ".join(rights),
    )


def _log_urls(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    """Log URLs that can be pasted into a browser or a client."""
    for each in sockets:
        name, port = each.getsockname()[:2]
        shown = "localhost" if name == "127.0.0.1" and "localhost" in settings.hosts else name
        # Not every system can connect to a wildcard address; Windows cannot.
        address = Address(CONNECTABLE.get(shown, shown), port)
        everywhere = " (on all addresses of this machine)" if name in CONNECTABLE else ""
        logger.info("listening on http://%s and ws://%s/ws%s", address, address, everywhere)


def _warn_if_exposed(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    """Warn if other machines can reach the server and no admin token is set."""
    # The sockets tell, not the setting: a host name can resolve to any address.
    exposed = any(not is_loopback(str(each.getsockname()[0])) for each in sockets)
    if exposed and not settings.admin_tokens and not settings.accepts_jwts:
        logger.warning(
            "anyone who can reach this server can publish: set AIONOTIFY_ADMIN_TOKEN to a secret "
            "of 16 characters or more"
        )


def _stop_on_signals(stop: asyncio.Event, hurry: Callable[[], None]) -> None:
    """Set `stop` on Ctrl-C, SIGTERM and SIGHUP; call `hurry` on Ctrl-C after that.

    SIGHUP means that the terminal was closed. On Windows, Ctrl-Break stands for both.
    """
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        # Only Ctrl-C: systemd may send SIGHUP right behind SIGTERM (SendSIGHUP=yes).
        if number == signal.SIGINT and stop.is_set():
            logger.info("stopping at once: not waiting for clients anymore")
            hurry()
        stop.set()

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        # `nohup` ignores SIGHUP for the program that it starts.
        if number is None or (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            continue
        try:
            loop.add_signal_handler(number, on_signal, number)
        except NotImplementedError:
            # Windows. The handler runs between two bytecodes of any code in the main thread, while
            # the loop may sleep in select(): call_soon_threadsafe wakes it, `stop.set` would not.
            signal.signal(number, lambda got, _: loop.call_soon_threadsafe(on_signal, got))
