"""A real nginx in front of the server."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.support.paths import ROOT
from tests.support.waiting import eventually, free_port

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on; gzip_types text/event-stream; gzip_proxied any;
    server {{
        listen 127.0.0.1:{port};
        location {prefix}/ {{ proxy_pass http://127.0.0.1:{upstream}{path}; }}
        location {prefix}/ws {{
            proxy_pass http://127.0.0.1:{upstream}{path}{ws};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
    }}
}}
"""
"""It says where to pass requests, and to compress the responses, streams of events as well.

With a path, nginx replaces the prefix by it.
"""


@asynccontextmanager
async def running_nginx(upstream: int, folder: Path, prefix: str = "") -> AsyncIterator[str]:
    """Run nginx in front of the port `upstream`, and yield its host and port.

    The server is below the path `prefix`. It need not run: nginx then answers with 502.
    """
    program = shutil.which("nginx")
    assert program, f"nginx is missing: python3 {ROOT / 'tests/run.py'}"
    port = free_port()
    path, ws = ("/", "ws") if prefix else ("", "")
    text = CONFIGURATION.format(
        folder=folder, port=port, upstream=upstream, prefix=prefix, path=path, ws=ws
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(text, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(program, "-c", str(configuration), "-e", f"{folder}/error.log"),
        stderr=subprocess.DEVNULL,
    )
    try:
        await eventually(lambda: _answers(port), 5, "nginx answers")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def _answers(port: int) -> bool:
    """Return whether there is an answer, whatever its status."""
    try:
        async with aiohttp.request("GET", f"http://127.0.0.1:{port}/"):
            return True
    except aiohttp.ClientConnectionError:
        return False
