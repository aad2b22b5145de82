"""Connections to a memcached, and name servers, for the tests of both."""

import socket
from collections.abc import Callable
from typing import Any

from aionotify.cache.memcached import Memcached
from aionotify.net import Address
from tests.support.fault_server import FakeMemcached
from tests.support.memcached import MemcachedProcess

KEY = b"aionotify:1:recent:main"
OTHER = b"aionotify:1:recent:other"

Resolver = Callable[..., list[tuple[Any, ...]]]
"""Replaces `socket.getaddrinfo`."""


async def connect(server: MemcachedProcess | FakeMemcached) -> Memcached:
    """Return a connection to `server`."""
    return await Memcached.connect(Address(server.host, server.port))


def answers(*hosts: str) -> Resolver:
    """Return a name server that knows every name by these addresses."""

    def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, port, 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in hosts
        ]

    return look_up
