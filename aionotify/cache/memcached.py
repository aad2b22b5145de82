"""One memcached, through aiomcache made safe.

Whatever the server does (close in mid-command, hang, answer garbage), a call ends within its
time-out with a CacheError, and after one such error every further call fails at once: the answer
to an abandoned command may still be under way, and would be taken for the next one's.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiomcache
from aiomcache.client import acquire
from aiomcache.exceptions import ClientException
from aiomcache.pool import Connection, MemcachePool

from aionotify.errors import CacheError
from aionotify.net import Address
from aionotify.text import shorten

CONNECT_TIMEOUT = 1.0
OPERATION_TIMEOUT = 0.5
PROBE_TIMEOUT = 3.0
"""Seconds that probing all hosts may take."""

PROBE_KEY = b"aionotify:1:probe"

MAX_VALUE = 16 * 1024 * 1024
"""Bytes of a value that are read: more than we ever store, one big message escaped as JSON."""


class Stored(NamedTuple):
    """A value, and the token by which a change is noticed; both None where there is no value."""

    value: bytes | None
    token: int | None


class Memcached:
    """A connection to one memcached. Operations run one at a time."""

    def __init__(self, address: Address, client: "_Client") -> None:
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
                    memcached = cls(address, _Client(host, address.port))
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
                if (await self._client.fetch(PROBE_KEY)).value != b"1":
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
            return await self._client.fetch(key)

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


async def probe(addresses: Sequence[Address]) -> tuple[Memcached | None, str]:
    """The first memcached that answers, and, in brackets, why those before it were passed over."""
    found: Memcached | None = None
    failures: list[str] = []
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            for address in addresses:
                try:
                    found = await Memcached.connect(address)
                    break
                except CacheError as error:
                    failures.append(f"{address}: {error}")
    except TimeoutError:
        failures.append(f"and {PROBE_TIMEOUT:g} s were over")
    return found, f" ({'; '.join(failures)})" if failures else ""


class _Client(aiomcache.Client):
    """aiomcache reads on for ever, without yielding, once the server has closed (its #502)."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, pool_size=1)
        self._pool = _Pool(host, port, minsize=1, maxsize=1)

    async def _execute_simple_command(self, conn: Connection, raw_command: bytes) -> bytes:
        conn.writer.write(raw_command)
        await conn.writer.drain()
        line = await conn.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection in mid-command")
        return line[:-2]

    @acquire
    async def fetch(self, conn: Connection, key: bytes) -> Stored:
        """One value with its token, as `gets`, which takes in whatever a server declares.

        The flags are those of whoever stored it; whether it is ours shows when it is decoded.
        """
        conn.writer.write(b"gets " + key + b"\r\n")
        line = await conn.reader.readline()
        if line == b"END\r\n":
            return Stored(None, None)
        match line.split():
            case [b"VALUE", name, _, length, token] if name == key and int(length) <= MAX_VALUE:
                value = await conn.reader.readexactly(int(length) + 2)
            case _:
                raise ClientException("get failed", line)
        if await conn.reader.readline() != b"END\r\n":
            raise ClientException("more came than was asked for")
        return Stored(value[:-2], int(token))


class _Pool(MemcachePool):
    """One connection, made once.

    aiomcache would replace a lost one silently, perhaps by one to a memcached that was started
    again and is empty, and nobody would give it back what it had.
    """

    _made = False

    async def _create_new_conn(self) -> Connection | None:
        if self._made:
            raise ConnectionResetError("the server closed the connection")
        self._made = True
        return await super()._create_new_conn()


_FAILURES = (OSError, EOFError, ValueError, LookupError, ClientException)


def _describe(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    text = " ".join(str(part) for part in error.args) or type(error).__name__
    return shorten(text, 200)


async def _resolve(address: Address) -> list[str]:
    """The addresses of a host, the IPv4 ones first.

    In a daemon thread, since a name server that hangs must hold up neither the start nor the end
    of the process, which waits for the threads of the event loop's own executor.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(hosts: list[str], error: Exception | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(hosts)
        else:
            reason = getattr(error, "strerror", None) or error
            found.set_exception(CacheError(f"the name is not known ({reason})"))

    def look_up() -> None:
        hosts: list[str] = []
        failure: Exception | None = None
        try:
            infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            infos.sort(key=lambda info: info[0] != socket.AF_INET)
            hosts = [str(info[4][0]) for info in infos]
        except (OSError, UnicodeError) as error:  # the latter where it cannot be a name at all
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, hosts, failure)

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    return await found
