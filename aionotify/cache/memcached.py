"""One memcached, through aiomcache made safe.

Whatever the server does (close in mid-command, hang, answer garbage), a call ends within its
time-out with a CacheError, and after one such error every further call fails at once: the answer
to an abandoned command may still be under way, and would be taken for the next one's.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiomcache
from aiomcache.exceptions import ClientException
from aiomcache.pool import Connection

from aionotify.errors import CacheError
from aionotify.settings import Address

CONNECT_TIMEOUT = 1.0
OPERATION_TIMEOUT = 0.5
PROBE_KEY = b"aionotify:1:probe"


class Stored(NamedTuple):
    """A value, and the token by which a change is noticed; both None where there is no value."""

    value: bytes | None
    token: int | None


class Memcached:
    """A connection to one memcached. Operations run one at a time."""

    def __init__(self, address: Address, client: aiomcache.Client) -> None:
        self.address = address
        self._client = client
        self._lock = asyncio.Lock()
        self._failed: str | None = None

    @classmethod
    async def connect(cls, address: Address) -> "Memcached":
        """Connect, and see a value stored and read back; within a second, else CacheError."""
        failure = CacheError("the name has no address")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                for host in await _resolve(address):
                    memcached = cls(address, _Client(host, address.port, pool_size=1))
                    try:
                        await memcached._probe()
                        return memcached
                    except CacheError as error:
                        failure = error
        except TimeoutError:
            failure = CacheError(f"no answer within {CONNECT_TIMEOUT:g} s")
        raise failure

    async def _probe(self) -> None:
        """See a value stored and read back, or let go of the connection."""
        try:
            async with self._operation(CONNECT_TIMEOUT):
                await self._client.set(PROBE_KEY, b"1", 60)
                if await self._client.get(PROBE_KEY) != b"1":
                    raise ClientException("a value that was stored did not come back")
        except (CacheError, asyncio.CancelledError):
            await self.close()
            raise

    async def check(self) -> None:
        """Raise CacheError unless the server still answers."""
        async with self._operation():
            await self._client.version()

    async def get(self, key: bytes) -> Stored:
        """The value under `key`, for reading and for `replace`."""
        async with self._operation():
            value, token = await self._client.gets(key)
            return Stored(value, token)

    async def replace(self, key: bytes, value: bytes, ttl: int, token: int | None) -> bool:
        """Store `value` for `ttl` seconds unless the key has changed since `get`; say if stored."""
        async with self._operation():
            if token is None:
                return await self._client.add(key, value, ttl)
            return await self._client.cas(key, value, token, ttl)

    async def close(self) -> None:
        """Let go of the connection."""
        self._failed = self._failed or "closed"
        await self._client.close()

    @asynccontextmanager
    async def _operation(self, seconds: float = OPERATION_TIMEOUT) -> AsyncIterator[None]:
        async with self._lock:
            if self._failed:
                raise CacheError(self._failed)
            try:
                async with asyncio.timeout(seconds):
                    yield
            except TimeoutError:
                self._failed = f"no answer within {seconds:g} s"
                raise CacheError(self._failed) from None
            except _FAILURES as error:
                self._failed = _describe(error)
                raise CacheError(self._failed) from error
            except asyncio.CancelledError:
                self._failed = "abandoned in mid-command"
                raise


class _Client(aiomcache.Client):
    """aiomcache reads on for ever, without yielding, once the server has closed (its #502)."""

    async def _execute_simple_command(self, conn: Connection, raw_command: bytes) -> bytes:
        conn.writer.write(raw_command)
        await conn.writer.drain()
        line = await conn.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection in mid-command")
        return line[:-2]


_FAILURES = (OSError, EOFError, ValueError, LookupError, ClientException)


def _describe(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    text = " ".join(str(part) for part in error.args) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "…"


async def _resolve(address: Address) -> list[str]:
    """The addresses of a host, the IPv4 ones first.

    In a daemon thread, since a name server that hangs must hold up neither the start nor the end
    of the process, which waits for the threads of the event loop's own executor.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(hosts: list[str], error: OSError | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(hosts)
        else:
            found.set_exception(CacheError(f"the name is not known ({error.strerror or error})"))

    def look_up() -> None:
        hosts: list[str] = []
        failure: OSError | None = None
        try:
            infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            infos.sort(key=lambda info: info[0] != socket.AF_INET)
            hosts = [str(info[4][0]) for info in infos]
        except OSError as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, hosts, failure)

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    return await found
