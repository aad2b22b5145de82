"""The examples of docker/README.md work: proxy, alarms, and the old openness."""

import asyncio
import io
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from dotenv import dotenv_values
from websockets.asyncio.client import connect

from aionotify.settings import Settings
from tests.support import ROOT, ServerProcess, eventually, free_port, running_server
from tests.support.documents import OPERATING, blocks, read
from tests.support.nats import running_nats

OWN_NAME = "notify.example.com"
FOREIGN = {"Origin": "https://elsewhere.example"}


def alone() -> dict[str, str]:
    """Return an environment in which no memcached is found."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{free_port()}"}


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    """Start a server as the section on proxies says."""
    async with running_server({**alone(), "AIONOTIFY_TRUSTED_PROXIES": "1"}) as process:
        yield process


@pytest.fixture
async def proxy(server: ServerProcess, tmp_path: Path) -> AsyncIterator[str]:
    """Start nginx with the configuration from the document. Yield its address."""
    program = shutil.which("nginx")
    assert program, f"nginx is missing: python3 {ROOT / 'tests/run.py'}"
    address = f"127.0.0.1:{free_port()}"
    (example,) = blocks("nginx", OPERATING)
    example = example.replace("listen 80;", f"listen {address};")
    example = example.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{folders}{example}}}\n",
        encoding="utf-8",
    )
    process = await asyncio.create_subprocess_exec(
        *(program, "-c", str(configuration), "-e", f"{tmp_path}/error.log"),
        stderr=subprocess.DEVNULL,
    )
    try:
        await eventually(lambda: answers(address), 5, "nginx answers")
        yield address
    finally:
        process.kill()
        await process.wait()


async def answers(address: str) -> bool:
    """Return whether `/health` is 200."""
    try:
        async with aiohttp.request("GET", f"http://{address}/health") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def test_nginx_example_forwards_everything(proxy: str) -> None:
    """WebSocket, events, publishing, and pages that the proxy serves under its own name."""
    own = {"Host": OWN_NAME, "Origin": f"https://{OWN_NAME}"}
    async with (
        aiohttp.ClientSession(f"http://{proxy}", headers=own) as session,
        session.ws_connect("/ws?client=admin") as ws,
        session.get("/events") as events,
    ):
        assert events.status == 200
        async with session.post("/notifications", data="Hello") as response:
            assert response.status == 201
            assert response.headers["Access-Control-Allow-Origin"] == own["Origin"]
        assert await ws.receive_str(timeout=3) == "[Notification] Hello"
        read_until = events.content.readuntil(b'"message":"Hello"}')
        assert b"data: " in await asyncio.wait_for(read_until, 3)
        async with session.get("/health", headers=FOREIGN) as response:
            assert response.status == 403


def test_proxy_waits_longer_than_the_heartbeat() -> None:
    (example,) = blocks("nginx", OPERATING)
    found = re.search(r"proxy_read_timeout (\d+)s;", example)
    assert found
    assert int(found[1]) > 2 * Settings().heartbeat


def documents(start: str) -> list[Any]:
    """Return the YAML documents of the block that begins with `start`."""
    (text,) = (each for each in blocks("yaml", OPERATING) if each.startswith(start))
    return list(yaml.safe_load_all(text))


async def test_metrics_in_the_document_are_those_of_the_server(tmp_path: Path) -> None:
    """In both directions; a single server and a node of a cluster have them together."""
    ours: set[str] = set()
    with running_nats(tmp_path) as nats:
        cluster = {"AIONOTIFY_NATS_URL": nats.url, "AIONOTIFY_NATS_REPLICAS": "1"}
        for environment in (alone(), cluster):
            async with (
                running_server(environment) as server,
                aiohttp.request("GET", f"{server.url}/metrics") as response,
            ):
                text = await response.text()
            ours |= {*re.findall(r"^# TYPE (aionotify_\w+) ", text, re.MULTILINE)}
    table = re.findall(r"^\|.*\|$", read(OPERATING), re.MULTILINE)
    assert set(re.findall(r"`(aionotify_\w+)`", "\n".join(table))) == ours


def test_scrape_example_reads_the_token_from_a_file() -> None:
    (example,) = documents("scrape_configs")
    (job,) = example["scrape_configs"]
    assert job["authorization"]["credentials_file"]
    assert job["static_configs"] == [{"targets": [f"localhost:{Settings().port}"]}]
    assert 'up{job="aionotify"}' in read("docker/alerts.yaml")
    assert job["job_name"] == "aionotify"


async def test_old_openness_can_be_restored() -> None:
    """Foreign origins, other host names, and big messages, which are refused without it."""
    (text,) = blocks("dotenv", OPERATING)
    lines = {name: value or "" for name, value in dotenv_values(stream=io.StringIO(text)).items()}
    limit = int(lines["AIONOTIFY_MAX_MESSAGE_BYTES"])
    async with running_server(alone()) as server:
        assert await statuses(server, Settings().max_message_bytes + 1) == [403, 403, 413]
    async with running_server({**alone(), **lines}, "--host", lines["AIONOTIFY_HOST"]) as server:
        assert await statuses(server, limit) == [200, 200, 201]
        url = f"{server.ws_url}?client=admin"
        async with connect(url, origin="https://elsewhere.example", max_size=None) as ws:  # type: ignore[arg-type]
            assert await asyncio.wait_for(ws.recv(), 5) == "[Recent] " + "x" * limit
            await ws.send("y" * limit)
            assert await asyncio.wait_for(ws.recv(), 5) == "[Notification] " + "y" * limit


async def statuses(server: ServerProcess, size: int) -> list[int]:
    """Return the statuses of a foreign origin, another host name, and a message of `size`."""
    found = []
    async with aiohttp.ClientSession(server.url) as session:
        for headers in (FOREIGN, {"Host": OWN_NAME}):
            async with session.get("/messages", headers=headers) as response:
                found.append(response.status)
        async with session.post("/notifications", data="x" * size) as response:
            found.append(response.status)
    return found


async def test_differences_from_fastapi_are_real() -> None:
    """Those of the second table that no other test holds: compression and `/redoc`."""
    async with running_server(alone()) as server:
        async with connect(server.ws_url, compression="deflate") as ws:
            assert ws.protocol.extensions == []
        async with aiohttp.request("GET", f"{server.url}/redoc") as response:
            assert response.status == 404
