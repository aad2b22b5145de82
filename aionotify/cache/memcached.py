"""A connection to one memcached: aiomcache made safe.

Whatever the server does (close in mid-command, hang, answer garbage), a call ends within its
time-out with a CacheError. After one such error every further call fails at once: the answer to an
abandoned command may still arrive, and would be taken for the answer to the next one.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiomcache
from aiomcache.client import acquire
from aiomcache.exceptions import ClientException
from aiomcache.pool import Connection, MemcachePool

from aionotify.cache.resolve import resolve
from aionotify.errors import CacheError
from aionotify.net import Address
from aionotify.text import shorten

CONNECT_TIMEOUT = 1.0
"""Seconds for looking up a name, and for connecting to each of its addresses."""

OPERATION_TIMEOUT = 0.5
"""Seconds for one command, or for several that are sent together."""

PROBE_KEY = b"aionotify:1:probe"

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of all values in one answer that are accepted: a multiple of the values in one command."""

MAX_ERROR = 200
"""Characters of a server's error message that are shown in ours."""

_FAILURES = (OSError, EOFError, ValueError, LookupError, ClientException)
"""Exceptions of aiomcache 0.8.2 and asyncio's streams for a broken or lying server."""

_CONFLICTS = (b"EXISTS", b"NOT_FOUND", b"NOT_STORED")


class Entry(NamedTuple):
    """A stored value, and the number by which `cas` notices that it has changed."""

    value: bytes
    cas: int


class Write(NamedTuple):
    """A value to store for `ttl` seconds, unless the key changed since it was read as `cas`.

    `cas` is None for a key that must not exist yet.
    """

    key: bytes
    value: bytes
    ttl: int
    cas: int | None


class Outcome(NamedTuple):
    """The result of a `Write`: stored, or refused for a reason, or a conflict (neither)."""

    stored: bool
    refusal: str = ""


class Memcached:
    """A connection to one memcached. Operations run one at a time."""

    def __init__(self, address: Address, client: "_Client") -> None:
        self.address = address
        self._client = client
        self._lock = asyncio.Lock()
        self._failed: str | None = None

    @classmethod
    async def connect(cls, address: Address) -> "Memcached":
        """Connect, and check that a stored value can be read back.

        Tries all addresses of the host. Raises CacheError with the last failure.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                hosts = await resolve(address)
        except TimeoutError:
            raise CacheError(f"name not resolved within {CONNECT_TIMEOUT:g} s") from None
        failure = CacheError("the name has no address")
        for host in hosts:
            memcached = cls(address, _Client(host, address.port))
            try:
                await memcached._probe()
                return memcached
            except CacheError as error:
                failure = error
        raise failure

    async def _probe(self) -> None:
        try:
            async with self._operation(CONNECT_TIMEOUT):
                await self._client.set(PROBE_KEY, b"1", 60)
                entry = (await self._client.fetch([PROBE_KEY])).get(PROBE_KEY)
                if entry is None or entry.value != b"1":
                    raise ClientException("a stored value could not be read back")
        except (CacheError, asyncio.CancelledError):
            await self.close()
            raise

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the values of those `keys` that exist, in one round trip."""
        async with self._operation():
            return await self._client.fetch(keys)

    async def store(self, writes: Sequence[Write]) -> list[Outcome]:
        """Send all `writes` in one round trip; return their outcomes in order."""
        async with self._operation():
            return await self._client.store(writes)

    async def set(self, key: bytes, value: bytes, ttl: int) -> None:
        """Store `value` for `ttl` seconds, whatever is there."""
        async with self._operation():
            await self._client.set(key, value, ttl)

    async def delete(self, key: bytes) -> None:
        """Remove `key` if it exists."""
        async with self._operation():
            await self._client.delete(key)

    async def close(self) -> None:
        """Close the connection."""
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
                # aiomcache 0.8.2 puts the connection back into its pool with the answer unread.
                self._failed = "cancelled in mid-command"
                raise


async def probe(
    addresses: Sequence[Address], seconds: float | None = None
) -> tuple[Memcached | None, str]:
    """Return the first reachable memcached, and the failures before it as text for the log.

    Takes `seconds` at most, or as long as it takes to try all.
    """
    found: Memcached | None = None
    failures: list[str] = []
    try:
        async with asyncio.timeout(seconds):
            for address in addresses:
                try:
                    found = await Memcached.connect(address)
                    break
                except CacheError as error:
                    failures.append(f"{address}: {error}")
    except TimeoutError:
        failures.append(f"gave up after {seconds:g} s, trying further hosts in the background")
    return found, f" ({'; '.join(failures)})" if failures else ""


class _Client(aiomcache.Client):
    """aiomcache 0.8.2, with the commands that it lacks and without its endless loop.

    Once the server has closed the connection, its own commands read on forever without yielding to
    the event loop (aiomcache #502).
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, pool_size=1)
        self._pool = _Pool(host, port, minsize=1, maxsize=1)

    async def _execute_simple_command(self, conn: Connection, raw_command: bytes) -> bytes:
        conn.writer.write(raw_command)
        await conn.writer.drain()
        return await _read_line(conn)

    @acquire
    async def fetch(self, conn: Connection, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Read several values with one `gets`.

        aiomcache's `multi_get` has no cas numbers and accepts any length that a server declares.
        """
        conn.writer.write(b"gets " + b" ".join(keys) + b"\r\n")
        found: dict[bytes, Entry] = {}
        wanted, total = set(keys), 0
        while (line := await _read_line(conn)) != b"END":
            match line.split():
                case [b"VALUE", key, _, length, cas] if key in wanted:
                    wanted.remove(key)
                    total += int(length)
                case _:
                    raise ClientException("get failed", line)
            if not 0 <= total <= MAX_ANSWER:
                raise ClientException("get failed", line)
            value = await conn.reader.readexactly(int(length) + 2)
            if not value.endswith(b"\r\n"):
                raise ClientException("get failed", "the value has another length than declared")
            found[key] = Entry(value[:-2], int(cas))
        return found

    @acquire
    async def store(self, conn: Connection, writes: Sequence[Write]) -> list[Outcome]:
        """Pipeline `cas` and `add` commands, and read all answers."""
        commands = []
        for key, value, ttl, cas in writes:
            verb, token = (b"add", b"") if cas is None else (b"cas", b" %d" % cas)
            head = b"%b %b 0 %d %d%b\r\n" % (verb, key, ttl, len(value), token)
            commands += [head, value, b"\r\n"]
        conn.writer.write(b"".join(commands))
        # Not before all is written: the answers are too short to fill a buffer, the values not.
        await conn.writer.drain()
        return [_outcome(await _read_line(conn)) for _ in writes]


class _Pool(MemcachePool):
    """A pool with one connection that is made once.

    aiomcache 0.8.2 would silently replace a lost connection, possibly by one to a memcached that
    was restarted and is empty; nothing would be written back to it.
    """

    _made = False

    async def _create_new_conn(self) -> Connection | None:
        if self._made:
            raise ConnectionResetError("the server closed the connection")
        self._made = True
        return await super()._create_new_conn()


async def _read_line(conn: Connection) -> bytes:
    line: bytes = await conn.reader.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("the server closed the connection in mid-command")
    return line[:-2]


def _outcome(line: bytes) -> Outcome:
    if line == b"STORED":
        return Outcome(True)
    if line in _CONFLICTS:
        return Outcome(False)
    # "object too large for cache", "out of memory storing object": memcached 1.6 has read the
    # value all the same, so the connection remains usable.
    if line.startswith(b"SERVER_ERROR "):
        reason = line.removeprefix(b"SERVER_ERROR ").decode("ascii", "replace")
        return Outcome(False, shorten(reason, MAX_ERROR))
    raise ClientException("storing failed", line)


def _describe(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    text = " ".join(str(part) for part in error.args) or type(error).__name__
    return shorten(text, MAX_ERROR)
