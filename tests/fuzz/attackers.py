"""Clients that send fuzzed input."""

import asyncio
import contextlib
import random
import time
from collections import deque
from dataclasses import dataclass, field

from tests.fuzz.corpus import FRAMES, HTTP, PATHS
from tests.fuzz.mutation import mutated
from tests.support import ServerProcess
from tests.support.raw_client import handshake

PATIENCE = 0.2
"""Seconds that an attacker waits for a response, at most."""

MAX_SHOWN = 2000
"""Bytes of an input that are kept for the report of a failure."""


@dataclass
class Run:
    """The state that all parts of a run share."""

    server: ServerProcess
    deadline: float
    """When the run ends, by the monotonic clock."""
    sent: deque[bytes] = field(default_factory=lambda: deque(maxlen=40))
    """The latest inputs: one of them is likely to be the cause of a failure."""
    inputs: int = 0
    """The number of inputs so far."""

    @property
    def over(self) -> bool:
        """Whether time is up."""
        return time.monotonic() > self.deadline

    def record(self, data: bytes) -> bytes:
        """Remember `data`, and return it."""
        self.inputs += 1
        self.sent.append(data[:MAX_SHOWN])
        return data


async def attack_http(run: Run, chance: random.Random) -> None:
    """Send fuzzed HTTP requests until time is up."""
    while not run.over:
        await _converse(run, chance, b"", run.record(mutated(chance, HTTP)))


async def attack_websocket(run: Run, chance: random.Random) -> None:
    """Open WebSockets properly and send fuzzed frames until time is up."""
    while not run.over:
        frames = b"".join(mutated(chance, FRAMES) for _ in range(chance.choice((1, 1, 2, 5))))
        await _converse(run, chance, handshake(chance.choice(PATHS)), run.record(frames))


async def _converse(run: Run, chance: random.Random, greeting: bytes, data: bytes) -> None:
    """Send `data` in a few pieces, read for a while, and disconnect, half-closed at times."""
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
