"""The health check of the image: it asks the server itself, whatever the environment says."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, free_port, running_server
from tests.support.documents import read
from tests.support.environment import without_memcached
from tests.support.nats import running_nats
from tests.support.peer import answering

SCRIPT = ROOT / "docker" / "healthcheck.py"
NO_PROXY = f"http://127.0.0.1:{free_port()}"
"""The address of a proxy that does not run."""


async def check(environment: dict[str, str], *flags: str) -> int:
    """Run the health check, and return its exit status."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), *flags), env={"PATH": os.environ["PATH"], **environment}
    )
    return await process.wait()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::", "::1", "[::1],::2"])
async def test_health_check_finds_the_server(host: str) -> None:
    """At the address that it listens on, and never through a proxy."""
    proxies = {"http_proxy": NO_PROXY, "HTTP_PROXY": NO_PROXY, "ALL_PROXY": NO_PROXY}
    listening = host.partition(",")[0]
    async with running_server(without_memcached(), "--host", listening) as server:
        environment = {"AIONOTIFY_HOST": host, "AIONOTIFY_PORT": str(server.port)}
        assert await check(environment | proxies) == 0


async def test_health_check_prefers_the_port_of_the_process() -> None:
    """The other one may be shared, so another process might answer."""
    own = free_port()
    async with running_server(without_memcached(AIONOTIFY_METRICS_PORT=str(own))) as server:
        environment = {"AIONOTIFY_HOST": "127.0.0.1", "AIONOTIFY_PORT": str(server.port)}
        assert await check(environment | {"AIONOTIFY_METRICS_PORT": str(own)}) == 0
        assert await check(environment | {"AIONOTIFY_METRICS_PORT": str(free_port())}) == 1
        assert await check(environment | {"AIONOTIFY_METRICS_PORT": "tcp://10.0.0.1:9000"}) == 0


async def test_new_node_is_checked_for_its_connection(tmp_path: Path) -> None:
    """A rolling update must not go on with nodes that do not reach NATS."""
    with running_nats(tmp_path) as nats:
        node = {"AIONOTIFY_NATS_URL": nats.url, "AIONOTIFY_NATS_REPLICAS": "1"}
        for environment, status in ((node, 0), (without_memcached(), 1)):
            async with running_server(environment) as server:
                address = {"AIONOTIFY_HOST": "127.0.0.1", "AIONOTIFY_PORT": str(server.port)}
                assert await check(address) == 0
                assert await check(address, "--connected") == status


async def test_health_check_notices_a_dead_server() -> None:
    assert await check({"AIONOTIFY_PORT": str(free_port())}) == 1


async def test_health_check_notices_another_server() -> None:
    """Or ours with an error: anything but 200 is no health."""
    async with answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as port:
        assert await check({"AIONOTIFY_PORT": str(port)}) == 1


def test_image_has_the_health_check() -> None:
    dockerfile = read("docker/Dockerfile")
    found = re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", dockerfile, re.MULTILINE)
    assert found
    assert json.loads(found[1]) == ["python", SCRIPT.name]
    assert f"COPY docker/{SCRIPT.name} ." in dockerfile
    assert f"!docker/{SCRIPT.name}" in read(".dockerignore").splitlines()
