"""Clients that resume from far back again and again: `python -m tests.support.replayer`.

They have a process of their own: reading megabytes must not delay the client that a test watches.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

END = b'"type":"subscribed"'
"""What a client reads last: it is caught up."""


class Replay(asyncio.Protocol):
    """One replay over server-sent events, read as fast as it arrives."""

    received = 0
    """Bytes received by all of them."""

    def __init__(self, since: int) -> None:
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._since = since
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        path = f"/events?since={self._since}"
        request = f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
        cast(asyncio.Transport, transport).write(request.encode())

    def data_received(self, data: bytes) -> None:
        """Count `data`, and look for the end."""
        Replay.received += len(data)
        self._tail = self._tail[-len(END) :] + data[-1000:]
        if END in self._tail and not self.over.done():
            self.over.set_result(True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the replay was cut off."""
        if not self.over.done():
            self.over.set_result(False)


async def main(port: int, since: int, clients: int) -> None:
    """Replay until standard input ends.

    Prints a line once every client has replayed everything, and at the end another one with the
    bytes received after that.
    """
    loop = asyncio.get_running_loop()

    async def replay() -> None:
        transport, client = await loop.create_connection(lambda: Replay(since), "127.0.0.1", port)
        assert await client.over, "the server ended a replay"
        transport.abort()

    async def repeat() -> None:
        while True:
            await replay()

    await asyncio.gather(*(replay() for _ in range(clients)))
    print("replaying", flush=True)
    before = Replay.received
    tasks = [asyncio.create_task(repeat()) for _ in range(clients)]
    await loop.run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, asyncio.CancelledError), result
    print(Replay.received - before)


@asynccontextmanager
async def replaying(port: int, since: int, clients: int) -> AsyncIterator[list[int]]:
    """Run this module beside a test. The list has the bytes received when the block has ended."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.replayer", str(port), str(since), str(clients)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    result: list[int] = []
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 5) == b"replaying\n"
        yield result
        output, _ = await asyncio.wait_for(process.communicate(b""), 5)
        result.append(int(output))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
