"""The server in this process: on real sockets, but without the start of an interpreter."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from aionotify.server import serve
from aionotify.settings import Settings
from tests.support import alone, eventually, free_port


@contextlib.asynccontextmanager
async def serving(settings: Settings | None = None) -> AsyncIterator[int]:
    """Run `serve`, and yield its port. At the end, SIGTERM must stop it with exit status 0.

    One at a time: the last one takes over the signal handlers. `settings` need a fixed port.
    """
    settings = settings or alone(port=free_port())
    task = asyncio.create_task(serve(settings))
    first = settings.hosts[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(first, first)

    async def listening() -> bool:
        assert not task.done(), task.result()
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, settings.port)
            writer.close()
            return True
        return False

    try:
        await eventually(listening)
        yield settings.port
    finally:
        signal.raise_signal(signal.SIGTERM)
        assert await asyncio.wait_for(task, 5) == 0
