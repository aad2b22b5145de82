"""The server process: signals, start and stop."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from aionotify.app import create_app, create_metrics_app
from aionotify.build import running_build
from aionotify.errors import ListenError
from aionotify.http.malformed import drop_malformed_requests
from aionotify.http.protocol import Limits
from aionotify.incidents import Incidents
from aionotify.keys import HUB
from aionotify.limits import raise_file_limit
from aionotify.listeners import LAST_REQUEST_TIMEOUT, Site, Sockets, bind
from aionotify.net import Address, is_loopback
from aionotify.settings import Settings

logger = logging.getLogger(__name__)

CONNECTABLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Wildcard addresses, and an address that a client can use instead."""

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
        sockets = bind(settings)
        _log_start(settings, app[HUB].max_connections)
        _report_missing_files(app[HUB].stats.incidents)
        await _run(app, settings, sockets, stop)
    except ListenError as error:
        logger.error("%s", error)
        return 2
    logger.info("stopped")
    return 0


async def _run(
    app: web.Application, settings: Settings, sockets: Sockets, stop: asyncio.Event
) -> None:
    """Run `app` on `sockets` until `stop` is set."""
    limits = Limits(settings.keepalive_timeout, settings.stall_timeout, app[HUB].stats)
    sites = [Site(app, sockets.main)]
    if sockets.metrics:
        sites.append(Site(create_metrics_app(app), sockets.metrics))
    try:
        for site in sites:
            await site.start(limits)
        _log_urls(settings, sockets)
        _warn_if_exposed(settings, sockets.main)
        _warn_if_alone(settings)
        await stop.wait()
        logger.info("stopping: clients are being closed")
    finally:
        # First, so that clients that are closed now reconnect to another server, not to this one.
        for site in sites:
            await site.close()
        await asyncio.sleep(LAST_REQUEST_TIMEOUT)
        for site in sites:
            await site.stop()


def _report_missing_files(incidents: Incidents) -> None:
    """Let the failures of accepting be summed up."""
    loop = asyncio.get_running_loop()

    def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context["message"] == _OUT_OF_FILES:
            incidents.out_of_files(str(context["exception"].strerror))
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(on_error)


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


def _log_urls(settings: Settings, sockets: Sockets) -> None:
    """Log URLs that can be pasted into a browser or a client."""
    for each in sockets.main:
        address, everywhere = _shown(settings, each)
        logger.info("listening on http://%s and ws://%s/ws%s", address, address, everywhere)
    for each in sockets.metrics:
        address, everywhere = _shown(settings, each)
        logger.info("metrics on http://%s/metrics%s", address, everywhere)


def _shown(settings: Settings, bound: socket.socket) -> tuple[Address, str]:
    """Return an address that a client can use, and a remark on it."""
    name, port = bound.getsockname()[:2]
    shown = "localhost" if name == "127.0.0.1" and "localhost" in settings.hosts else name
    everywhere = " (on all addresses of this machine)" if name in CONNECTABLE else ""
    # Not every system can connect to a wildcard address; Windows cannot.
    return Address(CONNECTABLE.get(shown, shown), port), everywhere


def _warn_if_exposed(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    """Warn if other machines can reach the server and no admin token is set."""
    # The sockets tell, not the setting: a host name can resolve to any address.
    exposed = any(not is_loopback(str(each.getsockname()[0])) for each in sockets)
    if exposed and not settings.admin_tokens and not settings.accepts_jwts:
        logger.warning(
            "anyone who can reach this server can publish: set AIONOTIFY_ADMIN_TOKEN to a secret "
            "of 16 characters or more"
        )


def _warn_if_alone(settings: Settings) -> None:
    """Warn if processes share a port, but no notifications."""
    if settings.reuse_port and settings.nats_url is None:
        logger.warning(
            "AIONOTIFY_REUSE_PORT is on without AIONOTIFY_NATS_URL: each process on this port has "
            "its own clients, and they get only its own notifications"
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
