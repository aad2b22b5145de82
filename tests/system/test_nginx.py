"""Behind a real nginx that is told nothing but where to pass requests on to."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.support import ROOT, ServerProcess, eventually, free_port, running_server

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
        location /ws {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
    }}
}}
"""


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    """One that sends a comment every second."""
    environment = {"MEMCACHED_HOST": f"127.0.0.1:{free_port()}", "AIONOTIFY_HEARTBEAT": "1"}
    async with running_server(environment) as process:
        yield process


@pytest.fixture
async def proxy(server: ServerProcess, tmp_path: Path) -> AsyncIterator[str]:
    """The address of an nginx in front of it, without the scheme."""
    program = shutil.which("nginx")
    assert program, f"nginx is missing: python3 {ROOT / 'tests/run.py'}"
    port = free_port()
    configuration = tmp_path / "nginx.conf"
    text = CONFIGURATION.format(folder=tmp_path, port=port, upstream=server.port)
    configuration.write_text(text, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(program, "-c", str(configuration), "-e", f"{tmp_path}/error.log"),
        stderr=subprocess.DEVNULL,
    )
    address = f"127.0.0.1:{port}"
    try:
        await eventually(lambda: answers(address), 5, "nginx answers")
        yield address
    finally:
        process.kill()
        await process.wait()


async def answers(address: str) -> bool:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{address}/health") as response,
        ):
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def publish(address: str, message: str) -> str:
    """The id of `message`, which is published through the proxy."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{address}/notifications", data=message) as response,
    ):
        assert response.status == 201
        return str((await response.json())["id"])


async def block(response: aiohttp.ClientResponse) -> list[str]:
    """The lines up to the next empty one."""
    read = await asyncio.wait_for(response.content.readuntil(b"\n\n"), 3)
    return read.decode().removesuffix("\n").splitlines()


async def test_events_arrive_at_once_and_the_stream_lasts(proxy: str) -> None:
    """The next one is published when the one before has arrived: a buffer would stop it all."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{proxy}/events") as response,
    ):
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        assert await block(response) == ["retry: 2000"]
        for number in range(20):
            id = await publish(proxy, f"number {number}")
            event = await block(response)
            while event == [":"]:
                event = await block(response)
            assert event[0] == f"id: {id}"
            assert event[1].endswith(f'"topic":"main","message":"number {number}"}}')
        for _ in range(2):
            assert await block(response) == [":"]
        id = await publish(proxy, "after a pause")
        event = await block(response)
        while event == [":"]:
            event = await block(response)
        assert event[0] == f"id: {id}"


async def test_a_stream_resumes_through_it(proxy: str) -> None:
    ids = [await publish(proxy, f"number {number}") for number in range(3)]
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{proxy}/events", headers={"Last-Event-ID": ids[0]}) as response,
    ):
        assert await block(response) == ["retry: 2000"]
        assert [(await block(response))[0] for _ in range(2)] == [f"id: {id}" for id in ids[1:]]


async def test_websocket_works_through_it(proxy: str) -> None:
    async with connect(f"ws://{proxy}/ws?client=admin") as ws:
        await ws.send("Hello")
        assert await asyncio.wait_for(ws.recv(), 3) == "[Notification] Hello"
        await publish(proxy, "and over HTTP")
        assert await asyncio.wait_for(ws.recv(), 3) == "[Notification] and over HTTP"
