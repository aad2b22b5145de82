"""The server process and its sockets: next to another server process, and without free files."""

import asyncio
import resource
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.support import ServerProcess, eventually, exchange, free_port, running_server
from tests.support.environment import without_uvloop
from tests.support.log_lines import without_times

HELP = "; choose another with AIONOTIFY_HOST and AIONOTIFY_PORT"


def no_memcached() -> dict[str, str]:
    """Return an environment in which no memcached is found."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{free_port()}"}


async def test_port_0_picks_a_free_port() -> None:
    async with running_server(no_memcached()) as one, running_server(no_memcached()) as two:
        assert 0 not in (one.port, two.port)
        assert one.port != two.port


async def test_port_in_use_ends_the_process() -> None:
    """It prints one line and ends with status 2, and the other server keeps the port."""
    async with running_server(no_memcached()) as server:
        with pytest.raises(AssertionError) as caught:
            async with running_server(no_memcached(), "--port", str(server.port)):
                pass
        printed = str(caught.value).partition("\n")[0]
        assert f"cannot listen on 127.0.0.1:{server.port}: Address already in use{HELP}" in printed
        assert (await exchange(server.port, b"GET / HTTP/1.1")).status == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_queue_is_answered_on_stop(loop: str, tmp_path: Path) -> None:
    """The system resets all connections that a listening socket has when it is closed."""
    hidden = without_uvloop(tmp_path) if loop == "asyncio" else {}
    request = b"POST /notifications HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx"
    async with running_server({**no_memcached(), **hidden}) as server:
        server.process.send_signal(signal.SIGSTOP)
        clients = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)]
        for _, writer in clients:
            writer.write(request)
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        for reader, writer in clients:
            assert (await reader.read()).startswith(b"HTTP/1.1 201 Created\r\n")
            writer.close()
        assert await server.process.wait() == 0


async def answers(server: ServerProcess) -> bool:
    """Return whether `/health` answers within a second."""
    try:
        timeout = aiohttp.ClientTimeout(total=1)
        async with aiohttp.request("GET", f"{server.url}/health", timeout=timeout) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def processor_seconds(server: ServerProcess) -> float:
    """Return the CPU time of the process so far."""
    return int(Path(f"/proc/{server.process.pid}/schedstat").read_text().split()[0]) / 1e9


async def test_missing_files_are_one_line(tmp_path: Path) -> None:
    """Without uvloop, accepting fails thousands of times a second, and each was a traceback."""
    async with running_server({**no_memcached(), **without_uvloop(tmp_path)}) as server:
        assert ", asyncio: " in server.output()
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (60, 60))
        used = processor_seconds(server)
        clients = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(150)]
        await eventually(lambda: "cannot accept connections" in server.output())
        assert not await answers(server)
        for _, writer in clients:
            writer.close()
        await eventually(lambda: answers(server))
        assert processor_seconds(server) - used < 0.5
        lines = without_times(server.output())[3:]
        assert len(lines) == 1
        assert lines[0].startswith(
            "WARNING aionotify.incidents: cannot accept connections (Too many open files): "
        )
