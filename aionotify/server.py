"""The server process: listening sockets, signals, start and stop."""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Iterator, Sequence

from aiohttp import web

from aionotify.app import create_app
from aionotify.http.malformed import drop_malformed_requests
from aionotify.http.protocol import Limits, connection_factory
from aionotify.keys import HUB
from aionotify.limits import raise_file_limit
from aionotify.net import Address, is_loopback
from aionotify.settings import Settings

logger = logging.getLogger(__name__)

BACKLOG = 4096
"""Connections that may wait to be accepted: many clients reconnect at once after a restart."""

RESPONSE_TIMEOUT = 1.0
"""How long plain HTTP requests may still take when the server stops, in seconds."""

CONNECTABLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Wildcard addresses, and an address that a client can use instead."""

# A machine or container without IPv6 has no ::1 (EADDRNOTAVAIL), or no such sockets at all.
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def serve(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM. Return the exit status: 0, or 2 if it cannot listen."""
    raise_file_limit()
    # Before anything that takes time, such as probing memcached, so that a signal ends that too.
    stop = asyncio.Event()
    _stop_on_signals(stop)
    drop_malformed_requests()
    # Bound before the application starts: a port in use is reported at once and not after memcached
    # has been probed, and clients that are early wait in the backlog instead of being refused.
    try:
        sockets = _bind(settings.host, settings.port)
    except OSError as error:
        _log_bind_error(settings, error)
        return 2
    await _run(settings, sockets, stop)
    logger.info("stopped")
    return 0


async def _run(settings: Settings, sockets: Sequence[socket.socket], stop: asyncio.Event) -> None:
    """Run the application on `sockets` until `stop` is set."""
    app = create_app(settings)
    runner = web.AppRunner(app, shutdown_timeout=RESPONSE_TIMEOUT)
    await runner.setup()
    assert runner.server is not None
    limits = Limits(settings.keepalive_timeout, settings.stall_timeout, app[HUB].stats)
    connect = connection_factory(runner.server, limits)
    loop = asyncio.get_running_loop()
    listeners: list[asyncio.Server] = []
    try:
        for bound in sockets:
            # create_server calls listen() again, so without `backlog` it would be 100. asyncio
            # (Python 3.11) also takes it as the number of accepts per turn of the event loop, and
            # goes on after an error: without free files it logs up to 4,096 lines at a time.
            listeners.append(await loop.create_server(connect, sock=bound, backlog=BACKLOG))
        _log_urls(settings.host, sockets)
        _warn_if_exposed(settings, sockets)
        await stop.wait()
        logger.info("stopping: clients are being closed")
    finally:
        # First, so that clients that are closed now reconnect to another server, not to this one.
        # `runner.cleanup` knows only the sites that it has opened itself.
        for listener in listeners:
            listener.close()
        await runner.cleanup()


def _bind(host: str, port: int) -> list[socket.socket]:
    """Return one bound socket for each address of `host`, all on the same port. Raise OSError."""
    # `localhost` is not looked up: the result depends on the hosts file, which may lack ::1, and
    # that is the address that browsers try first.
    hosts = ["127.0.0.1", "::1"] if host == "localhost" else list(_resolve(host))
    sockets: list[socket.socket] = []
    try:
        for each in hosts:
            # Python 3.11 sets IPV6_V6ONLY, so 127.0.0.1 and ::1 never compete for the port. It
            # leaves SO_REUSEADDR out on Windows, where that would let two servers share it.
            family = socket.AF_INET6 if ":" in each else socket.AF_INET
            try:
                bound = socket.create_server((each, port), family=family, backlog=BACKLOG)
            except OSError as error:
                if sockets and error.errno in _NO_IPV6:
                    continue
                raise
            sockets.append(bound)
            # Port 0 picks a free one for the first address; the others must use the same.
            port = bound.getsockname()[1]
    except OSError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _resolve(host: str) -> Iterator[str]:
    """Iterate over the addresses of `host`, each once, in the order of the resolver."""
    # A name that stands twice in the hosts file is reported twice, and binding twice fails.
    seen = set()
    for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        address = str(info[4][0])
        if address not in seen:
            seen.add(address)
            yield address


def _log_bind_error(settings: Settings, error: OSError) -> None:
    # Python 3.11 appends "(while attempting to bind on address …)", the address a second time.
    reason = str(error.strerror or error).partition(" (while ")[0]
    logger.error(
        "cannot listen on %s: %s; choose another with AIONOTIFY_HOST and AIONOTIFY_PORT",
        Address(settings.host, settings.port),
        reason,
    )


def _log_urls(host: str, sockets: Sequence[socket.socket]) -> None:
    """Log URLs that can be pasted into a browser or a client."""
    for each in sockets:
        name, port = each.getsockname()[:2]
        shown = "localhost" if host == "localhost" and name == "127.0.0.1" else name
        # Not every system can connect to a wildcard address; Windows cannot.
        address = Address(CONNECTABLE.get(shown, shown), port)
        everywhere = " (on all addresses of this machine)" if name in CONNECTABLE else ""
        logger.info("listening on http://%s and ws://%s/ws%s", address, address, everywhere)


def _warn_if_exposed(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    """Warn if other machines can reach the server and no admin token is set."""
    # The sockets tell, not the setting: a host name can resolve to any address.
    exposed = any(not is_loopback(str(each.getsockname()[0])) for each in sockets)
    if exposed and not settings.admin_tokens:
        logger.warning(
            "anyone who can reach this server can publish: set AIONOTIFY_ADMIN_TOKEN to a secret "
            "of 16 characters or more"
        )


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on Ctrl-C and SIGTERM, and on Ctrl-Break on Windows."""
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:
            # Windows. The handler runs between two bytecodes of any code in the main thread, while
            # the loop may sleep in select(): call_soon_threadsafe wakes it, `stop.set` would not.
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
