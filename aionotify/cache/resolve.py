"""Host names to addresses, without blocking the event loop or the end of the process."""

import asyncio
import contextlib
import ipaddress
import socket
import threading

from aionotify.errors import CacheError
from aionotify.net import Address


async def resolve(address: Address) -> list[str]:
    """Return the IP addresses of a host, IPv4 first. Raises CacheError if the name is unknown."""
    with contextlib.suppress(ValueError):
        # An address needs no look-up, and no thread: on a busy machine a new thread can hold the
        # GIL while it waits for the processor, and the event loop with it, for 0.1 s and more.
        return [str(ipaddress.ip_address(address.host))]
    # `loop.getaddrinfo` uses the default executor, whose threads the process waits for when it
    # ends (Python 3.11): a name server that hangs would hold up the end. A daemon thread does not.
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(hosts: list[str], error: Exception | None) -> None:
        if found.done():  # the caller has given up
            return
        if error is None:
            found.set_result(hosts)
        else:
            reason = getattr(error, "strerror", None) or error
            found.set_exception(CacheError(f"unknown host ({reason})"))

    def look_up() -> None:
        hosts: list[str] = []
        failure: Exception | None = None
        try:
            infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            infos.sort(key=lambda info: info[0] != socket.AF_INET)
            # Each once: a name may be listed twice, and each address takes a second if it is dead.
            hosts = list(dict.fromkeys(str(info[4][0]) for info in infos))
        except (OSError, UnicodeError) as error:  # the latter for text that cannot be a name
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, hosts, failure)

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    return await found
