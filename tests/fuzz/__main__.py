"""A fuzz run against the real process: `python -m tests.fuzz [--seconds 600] [--seed 1]`.

Inputs of a corpus are mutated at random, from a seed: HTTP as raw bytes, WebSocket frames as raw
bytes after a handshake, what memcached answers, and settings. Meanwhile a healthy client must get
everything that is published.
"""

import argparse
import asyncio
import contextlib
import gzip
import random
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from aionotify.errors import SettingsError
from aionotify.settings import read_settings
from tests.support import ServerProcess, eventually, running_server
from tests.support.fault_server import Command, FakeMemcached

CONNECTIONS = 6
"""How many strangers there are at a time, of each kind."""

PATIENCE = 0.2
"""Seconds that a stranger waits for an answer."""

SLOW = 0.1
"""Seconds for which the event loop must not stand still."""

GROWTH = 128 * 1024
"""KiB by which the least memory of the last third may be above that of the first.

Bodies that break off are kept for 10 s, so that a short run ends before they are dropped as fast as
they come, and what is free comes back in fits and starts. In a long run, a leak is far above it.
"""

HANDSHAKE = (
    b"GET /ws%b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
QUERIES = (b"", b"?client=admin&topic=fuzz", b"?client=admin&topic=fuzz&format=json")

_BOMB = gzip.compress(b"\0" * 50_000_000)


def post(body: bytes, *headers: bytes) -> bytes:
    """A request that publishes `body` where the healthy client does not listen."""
    head = [b"POST /notifications?topic=fuzz HTTP/1.1", b"Host: localhost", *headers]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body])


JSON_BODY = b"Content-Type: application/json"
CHUNKED = (
    b"POST /notifications?topic=fuzz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
)

HTTP = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"HEAD /health HTTP/1.0\r\n\r\n",
    b"GET /messages?topic=fuzz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
    b"GET /notifications?since=" + b"9" * 8000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /notifications?since=" + b"9" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /notifications?" + b"a=1&" * 1900 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /notifications?topic=%ff%00%ed%a0%80&since=-1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /events?topic=fuzz HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: \xff\r\n\r\nmore",
    b"GET /%2e%2e/%2F/etc/passwd?token=%ed%a0%80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: [::1\r\nOrigin: http://[::1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"a=b;" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"OPTIONS /events HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n"
    b"Access-Control-Request-Method: GET\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT \r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    HANDSHAKE % b"",
    HANDSHAKE.replace(b"13", b"8") % b"",
    HANDSHAKE.replace(b"dGhl", b"\xff\xff") % b"?client=admin",
    (HANDSHAKE % b"").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"),
    (HANDSHAKE % b"").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"),
    post(b"Hello"),
    post(b"\xff\xfe"),
    post(b"Hello", b"Expect: 100-continue"),
    post(b"Hello", b"Expect: nothing"),
    post(b"Hello", b"Content-Type: \xff; charset=\x80"),
    post(b"Hello", b"Content-Type: multipart/form-data"),
    post(b'{"message":"Hello"}', JSON_BODY),
    post(b'{"message":"\\ud800"}', JSON_BODY),
    post(b'{"message":' + b"[" * 100_000, JSON_BODY),
    post(b'{"message":' + b'{"a":' * 50_000, JSON_BODY),
    post(b'{"message":' + b"9" * 300_000 + b"}", JSON_BODY),
    post(b'{"message":1e999999,"x":NaN}', JSON_BODY),
    post(b"x" * 2_000_000),
    post(_BOMB, b"Content-Encoding: gzip"),
    post(_BOMB[:1000], b"Content-Encoding: deflate"),
    post(b"no gzip at all", b"Content-Encoding: gzip"),
    post(b"no brotli at all", b"Content-Encoding: br"),
    post(b"no zstd at all", b"Content-Encoding: zstd"),
    CHUNKED + b"\r\n5\r\nHello\r\n0\r\n\r\n",
    CHUNKED + b"\r\n" + b"1\r\nx\r\n" * 20_000,
    CHUNKED + b"\r\nffffffffffffffff\r\nHello",
    CHUNKED + b"\r\nzz\r\nHello",
    CHUNKED + b"\r\n5;" + b"x" * 100_000 + b"\r\nHello\r\n0\r\n\r\n",
    CHUNKED + b"Content-Length: 5\r\n\r\n5\r\nHello\r\n0\r\n\r\n",
    CHUNKED + b"Content-Encoding: gzip\r\n\r\n5\r\nHello\r\n0\r\n\r\n",
)


def frame(first: int, payload: bytes = b"", *, mask: bool = True, length: int = -1) -> bytes:
    """A frame from a client, with any first byte, and any length declared (RFC 6455 §5.2)."""
    declared = len(payload) if length < 0 else length
    size = declared if declared < 126 else 126 if declared < 65536 else 127
    extra = {126: 2, 127: 8}.get(size, 0)
    head = bytes((first, size | 0x80 * mask)) + (declared.to_bytes(extra, "big") if extra else b"")
    key = b"\x37\xfa\x21\x3d" if mask else b""
    masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return head + key + masked


FRAMES = (
    frame(0x81, b"Hello"),
    frame(0x81, b"admin:Hello"),
    frame(0x81, b'{"message":"Hello"}'),
    frame(0x81, b'{"message":"\\ud800"}'),
    frame(0x81, b"[" * 60_000),
    frame(0x81, b" " * 65_536),
    frame(0x81, b"x" * 70_000),
    frame(0x81, b"\xff\xfe"),
    frame(0x81, b"\xed\xa0\x80"),
    frame(0x81, mask=False),
    frame(0x82, b"binary"),
    frame(0xC1, b"compressed"),
    frame(0xF1, b"reserved"),
    frame(0x83, b"no opcode"),
    frame(0x01, b"admin:a") + frame(0x00, b"b") + frame(0x80, b"c"),
    frame(0x01, b"a") + frame(0x81, b"b"),
    frame(0x80, b"a continuation of nothing"),
    frame(0x01, b"admin:") + frame(0x00) * 20_000,
    frame(0x01) + frame(0x00, b"x" * 1000) * 80,
    frame(0x01) + (frame(0x00) + frame(0x89)) * 2000,
    frame(0x89, b"ping"),
    frame(0x89, b"p" * 125) * 2000,
    frame(0x89, b"p" * 126),
    frame(0x8A, b"unasked"),
    frame(0x09, b"a fragment of a ping"),
    frame(0x88),
    frame(0x88, b"\x03\xe8bye"),
    frame(0x88, b"\x03"),
    frame(0x88, b"\x03\xee"),
    frame(0x88, b"\x03\xe8\xff"),
    frame(0x81, length=2**63),
    frame(0x81, length=2**64 - 1),
    frame(0x81, b"short", length=1000),
)

ANSWERS = (
    b"END\r\n",
    b"STORED\r\n",
    b"NOT_STORED\r\n",
    b"EXISTS\r\n",
    b"NOT_FOUND\r\n",
    b"ERROR\r\n",
    b"SERVER_ERROR out of memory storing object\r\n",
    b"CLIENT_ERROR bad data chunk\r\n",
    b"VERSION 1.6.0\r\n",
    b"VALUE aionotify:1:recent:main 0 2 7\r\n{}\r\nEND\r\n",
    b'VALUE aionotify:1:recent:main 0 19 7\r\n{"notifications":1}\r\nEND\r\n',
    b"VALUE aionotify:1:recent:main 0 100000 7\r\n" + b"[" * 100_000 + b"\r\nEND\r\n",
    b"VALUE aionotify:1:recent:main 0 99999999999 7\r\n",
    b"VALUE aionotify:1:recent:main 0 -1 7\r\nEND\r\n",
    b"VALUE " + b"k" * 300 + b" 0 1 1\r\nx\r\nEND\r\n",
    b"x" * 100_000,
    b"\r\n" * 1000,
    b"\x00\xff\x80\r\n",
    b"",
)

DOCUMENTS = (
    b'{"floor":1,"notifications":[{"id":1,"time":1,"message":"x"}]}',
    b'{"floor":"1","notifications":[{"id":"1","time":-1,"message":1}]}',
    b'{"floor":9007199254740993,"notifications":[{"id":99999999999999999999,"time":1e999}]}',
    b'{"notifications":[null,[],{}]}',
    b'{"floor":1,"sealed":true,"notifications":[{"id":1,"time":1,"message":"\\ud800"}]}',
)

VALUES = (
    *("", " ", "0", "1", "-1", "65536", "9" * 30, "\u0661", "1_000", "+1", "0x10", "1e3", "nan"),
    *(
        "localhost",
        "[::1]:11211",
        "[",
        "]",
        "a:b:c",
        "a,,b",
        "a b",
        "http://x",
        "*",
        "null",
        "../x",
    ),
    *(
        "https://app.example",
        "info",
        "x" * 16,
        "x" * 15,
        "\ud800",
        "\x00",
        "\n",
        "é" * 20,
        "%s",
        "{}",
    ),
)
VARIABLES = (
    *("AIONOTIFY_HOST", "AIONOTIFY_PORT", "MEMCACHED_HOST", "MEMCACHED_PORT"),
    *("AIONOTIFY_RECENT_LIMIT", "AIONOTIFY_HISTORY_LIMIT", "AIONOTIFY_MAX_MESSAGE_BYTES"),
    *("AIONOTIFY_HEARTBEAT", "AIONOTIFY_ADMIN_TOKEN", "AIONOTIFY_USER_TOKEN_FILE"),
    *("AIONOTIFY_ALLOWED_ORIGINS", "AIONOTIFY_TRUSTED_PROXIES", "AIONOTIFY_LOG_LEVEL"),
)

PIECES = (b"\r\n", b"\n", b"\x00", b"\xff", b":", b" ", b",", b"\r\n\r\n", b"9" * 40, b"%", b"[")


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One of `corpus`, as it is or with something broken in it."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        till = at + chance.choice((1, 1, 2, 8, 64))
        match chance.randrange(6):
            case 0:
                data[at:till] = chance.randbytes(till - at)
            case 1:
                data[at:at] = chance.choice(PIECES)
            case 2:
                del data[at:till]
            case 3:
                data[at:at] = data[at:till] * chance.choice((1, 2, 50))
            case 4:
                data[at:] = chance.choice(corpus)[: 1 << 16]
            case _ if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
    return bytes(data)


@dataclass
class Run:
    """What is going on, and what was seen."""

    server: ServerProcess
    deadline: float
    sent: deque[bytes] = field(default_factory=lambda: deque(maxlen=40))
    """The latest inputs, for who looks for the one that broke something."""
    inputs: int = 0

    @property
    def over(self) -> bool:
        """Whether time is up."""
        return time.monotonic() > self.deadline

    def note(self, data: bytes) -> bytes:
        """Remember `data`, and return it."""
        self.inputs += 1
        self.sent.append(data[:2000])
        return data


async def converse(run: Run, chance: random.Random, greeting: bytes, data: bytes) -> None:
    """Send `data` in a few pieces, take what comes, and leave in one way or another."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", run.server.port)
    except OSError:
        assert run.server.process.returncode is None, "the server died"
        raise
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(PATIENCE + 5):
            if greeting:
                writer.write(greeting)
                await reader.readuntil(b"\r\n\r\n")
            cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(4)))
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                writer.write(data[start:end])
                await asyncio.sleep(0)
            if chance.random() < 0.3 and writer.can_write_eof():
                writer.write_eof()
            async with asyncio.timeout(PATIENCE * chance.random()):
                while await reader.read(65536):
                    pass
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def strangers_over_http(run: Run, chance: random.Random) -> None:
    """Requests that are none."""
    while not run.over:
        await converse(run, chance, b"", run.note(mutated(chance, HTTP)))


async def strangers_over_websocket(run: Run, chance: random.Random) -> None:
    """Frames that are none, after a handshake that is one."""
    while not run.over:
        frames = b"".join(mutated(chance, FRAMES) for _ in range(chance.choice((1, 1, 2, 5))))
        await converse(run, chance, HANDSHAKE % chance.choice(QUERIES), run.note(frames))


def settings_of_strangers(chance: random.Random) -> None:
    """Whatever is set, it is settings, or one line that shows no token."""
    names = chance.sample(VARIABLES, chance.randrange(1, 4))
    value = "".join(chance.choices(VALUES, k=chance.choice((1, 1, 2, 3))))
    line = ""
    try:
        read_settings({}, None, dict.fromkeys(names, value))
    except SettingsError as error:
        line = str(error)
    assert "\n" not in line, (names, value)
    assert len(line) < 1000, (names, value)


def fuzzed_memcached(chance: random.Random) -> FakeMemcached:
    """One that answers a third of all commands with whatever comes to its mind."""

    async def fault(command: Command) -> None:
        kind = chance.random()
        if kind < 0.6:
            await command.server.obey(command)
        elif kind < 0.75 and command.name == b"gets":
            value = mutated(chance, DOCUMENTS)
            head = b"VALUE %b 0 %d %d\r\n" % (command.key, len(value), chance.randrange(1 << 64))
            await command.answer(head + value + b"\r\nEND\r\n")
        elif kind < 0.97:
            await command.answer(mutated(chance, ANSWERS))
        else:
            raise ConnectionResetError

    return FakeMemcached(fault)


class Probe(threading.Thread):
    """Asks `/health` over and over, in a thread of its own; how long each answer took."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self.times: list[float] = []
        self.noise: list[float] = []
        """How much longer than it should a short sleep took: what the machine itself adds."""

    def run(self) -> None:
        """Until time is up, or the server does not answer."""
        import http.client

        while not self._run.over:
            before = time.monotonic()
            time.sleep(0.01)
            self.noise.append(time.monotonic() - before - 0.01)
            connection = http.client.HTTPConnection("127.0.0.1", self._run.server.port, timeout=5)
            before = time.monotonic()
            try:
                connection.request("GET", "/health")
                connection.getresponse().read()
            except OSError:
                self.times.append(5.0)
            finally:
                connection.close()
            self.times.append(time.monotonic() - before)

    def check(self) -> None:
        """AssertionError if the loop stood still for longer than the machine explains."""
        slow = [each for each in self.times if each > SLOW + max(self.noise)]
        assert len(self.times) > 10
        assert len(slow) <= len(self.times) // 50, f"slow answers: {slow}"
        assert max(self.times) < 2, f"the slowest answer took {max(self.times):.2f} s"


async def healthy(run: Run) -> int:
    """Publish, and see that it arrives, until time is up; how many were."""
    count = 0
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{run.server.ws_url}?client=admin&topic=healthy") as admin,
        session.ws_connect(f"{run.server.ws_url}?topic=healthy") as user,
    ):
        while not run.over:
            await admin.send_str(f"number {count}")
            for each in (admin, user):
                heard = await each.receive_str(timeout=5)
                assert heard == f"[Notification] number {count}"
            count += 1
            await asyncio.sleep(0.02)
    return count


def memory(server: ServerProcess) -> int:
    """KiB of the process that are resident; 0 where there is no /proc."""
    status = Path("/proc", str(server.process.pid), "status")
    if not status.exists():
        return 0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmRSS"].split()[0])


def files(server: ServerProcess) -> int:
    """How many files the process has open; 0 where there is no /proc."""
    folder = Path("/proc", str(server.process.pid), "fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@contextlib.asynccontextmanager
async def target(chance: random.Random) -> AsyncIterator[ServerProcess]:
    """The real process, with a memcached that cannot be trusted.

    It retains so little that what its memory grows by is lost.
    """
    async with (
        fuzzed_memcached(chance) as memcached,
        running_server(
            {
                "MEMCACHED_HOST": f"127.0.0.1:{memcached.port}",
                "AIONOTIFY_RECENT_TTL": "2",
                "AIONOTIFY_HISTORY_LIMIT": "20",
            }
        ) as server,
    ):
        yield server


async def fuzz(seed: int, seconds: float) -> str:
    """The whole run; AssertionError with the latest inputs if anything broke. A line to print."""
    chance = random.Random(seed)
    for _ in range(2000):
        settings_of_strangers(chance)
    async with target(random.Random(seed + 1)) as server:
        run = Run(server, time.monotonic() + seconds)
        before = files(server)
        probe = Probe(run)
        probe.start()
        weighing = asyncio.create_task(weigh(run))
        try:
            async with asyncio.TaskGroup() as group:
                delivered = group.create_task(healthy(run))
                for number in range(CONNECTIONS):
                    each = random.Random(f"{seed}/{number}")
                    group.create_task(strangers_over_http(run, each))
                    group.create_task(strangers_over_websocket(run, each))
            probe.join()
            probe.check()
            grown = growth(await weighing)
            assert grown < GROWTH, f"it grew by {grown} KiB"
            # the memcached connection comes and goes, once at a time
            await eventually(lambda: files(server) <= before + 2, 15, "all files are closed")
            assert await server.stop() == 0
            check_log(server.output())
        except BaseException as error:
            run.deadline = 0
            probe.join()
            error.add_note(f"seed {seed}; the latest inputs, newest last:")
            for data in run.sent:
                error.add_note(repr(data))
            error.add_note(server.output()[-5000:])
            raise
        return (
            f"seed {seed}: {run.inputs} inputs, {delivered.result()} notifications delivered, "
            f"slowest /health {max(probe.times) * 1000:.0f} ms, grown by {grown} KiB"
        )


async def weigh(run: Run) -> list[int]:
    """The memory of the process, looked at all the time."""
    sizes = []
    while not run.over:
        await asyncio.sleep(0.1)
        sizes.append(memory(run.server))
    return sizes


def growth(sizes: list[int]) -> int:
    """What did not go away again. The first tenth is the warming up."""
    third = len(sizes) // 3
    return min(sizes[-third:]) - min(sizes[len(sizes) // 10 : third])


def check_log(output: str) -> None:
    """Strangers are no errors of ours."""
    for word in ("Traceback", "ERROR", "CRITICAL", "never retrieved"):
        assert word not in output, output[-5000:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    flags = parser.parse_args(arguments)
    print(asyncio.run(fuzz(flags.seed, flags.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
