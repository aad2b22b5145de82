"""The server process and its sockets, next to another server process."""

import pytest

from tests.support import exchange, free_port, running_server

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
