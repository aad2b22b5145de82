"""The application on its sockets, from the first line of the log to the last."""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from aionotify.app import create_app
from aionotify.http.protocol import HttpProtocol
from aionotify.limits import raise_file_limit
from aionotify.net import Address, is_loopback
from aionotify.settings import Settings

logger = logging.getLogger(__name__)

IDLE_TIMEOUT = 10.0
"""Seconds until a connection is closed on which no request is under way, or half a one."""

LINGERING_TIMEOUT = 1.0
"""Seconds in which the rest of a body is dropped that was refused before it had arrived."""

BACKLOG = 4096
"""Connections that may wait to be accepted: many clients reconnect at once after a restart."""


async def serve(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM. Returns the exit status: 0, or 2 where it cannot listen."""
    raise_file_limit()
    stop = asyncio.Event()
    _stop_on_signals(stop)
    logging.getLogger("aiohttp.server").addFilter(_without_what_strangers_send)
    try:
        sockets = _listen(settings.host, settings.port)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while ")[0]  # the address once more
        logger.error(
            "cannot listen on %s: %s; choose another with AIONOTIFY_HOST and AIONOTIFY_PORT",
            Address(settings.host, settings.port),
            reason,
        )
        return 2
    runner = web.AppRunner(create_app(settings), shutdown_timeout=1.0)
    await runner.setup()
    assert runner.server is not None
    runner.server.request_factory = _with_target(runner.server.request_factory)
    listeners: list[asyncio.Server] = []
    try:
        for each in sockets:
            listeners.append(await _accept(runner, each))
        _announce(settings.host, sockets)
        _warn(settings, sockets)
        await stop.wait()
        logger.info("stopping: clients are being closed")
    finally:
        for listener in listeners:
            listener.close()
        await runner.cleanup()
    logger.info("stopped")
    return 0


def _listen(host: str, port: int) -> list[socket.socket]:
    """One bound socket for each address of `host`, all on one port. Raises OSError.

    `localhost` is 127.0.0.1 and, where the machine has it, ::1.
    """
    hosts = ["127.0.0.1", "::1"] if host == "localhost" else list(_addresses(host))
    sockets: list[socket.socket] = []
    try:
        for each in hosts:
            family = socket.AF_INET6 if ":" in each else socket.AF_INET
            try:
                bound = socket.create_server((each, port), family=family, backlog=BACKLOG)
            except OSError as error:
                if sockets and error.errno in _NO_IPV6:
                    continue
                raise
            sockets.append(bound)
            port = bound.getsockname()[1]
    except OSError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _addresses(host: str) -> Iterator[str]:
    seen = set()
    for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        address = str(info[4][0])
        if address not in seen:
            seen.add(address)
            yield address


async def _accept(runner: web.AppRunner, bound: socket.socket) -> asyncio.Server:
    """Serve whoever connects to `bound`."""
    server, loop = runner.server, asyncio.get_running_loop()
    assert server is not None

    def connection() -> HttpProtocol:
        return HttpProtocol(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # what aiohttp's own runner documents
            auto_decompress=False,  # a few KiB could become gigabytes, even if nobody reads them
            keepalive_timeout=IDLE_TIMEOUT,
            lingering_time=LINGERING_TIMEOUT,
        )

    return await loop.create_server(connection, sock=bound, backlog=BACKLOG)


def _announce(host: str, sockets: list[socket.socket]) -> None:
    """URLs that can be pasted. A wildcard address cannot be connected to everywhere."""
    for each in sockets:
        name, port = each.getsockname()[:2]
        shown = host if host == "localhost" and name == "127.0.0.1" else name
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(shown, shown)
        everywhere = " (on every address of this machine)" if name in ("0.0.0.0", "::") else ""
        address = Address(shown, port)
        logger.info("listening on http://%s and ws://%s/ws%s", address, address, everywhere)


def _without_what_strangers_send(record: logging.LogRecord) -> bool:
    """A request that is no HTTP, or breaks off, is no error of this server.

    aiohttp logs a traceback with what was sent, which fills the log, and may hold a token.
    """
    error = record.exc_info[1] if record.exc_info else None
    # aiohttp trips over an `Expect` that is not Unicode when it says that it is not known
    unknown = isinstance(error, UnicodeEncodeError) and error.object.startswith("Unknown Expect")
    if not unknown and not isinstance(error, _STRANGERS):
        return True
    logger.debug("a request that is no HTTP, or broke off (%s)", type(error).__name__)
    return False


_STRANGERS = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


def _with_target(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Requests from `make`, even where there is nothing behind `CONNECT`.

    aiohttp trips over that, and leaves the connection without anybody who answers or closes it.
    """

    def request(message: Any, *arguments: Any) -> web.BaseRequest:
        if message.url is None:
            message = message._replace(url=URL("/"))
        return make(message, *arguments)

    return request


def _warn(settings: Settings, sockets: list[socket.socket]) -> None:
    """What a laptop may do without is missed beyond it."""
    beyond = any(not is_loopback(str(each.getsockname()[0])) for each in sockets)
    if beyond and not settings.admin_tokens:
        logger.warning(
            "whoever reaches this server may send: set AIONOTIFY_ADMIN_TOKEN to 16 characters or "
            "more that only senders know"
        )


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Ctrl-C and SIGTERM set `stop`; on Windows, Ctrl-Break as well."""
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
