"""The recipe for JWTs in docker/README.md, from the secret to an open connection."""

import asyncio
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.support import free_port, running_server
from tests.support.documents import OPERATING, blocks
from tests.support.jwts import SECRET, token
from tests.support.paths import ROOT
from tests.system.test_readme import CHECK, MAKE
from tests.system.test_readme import SECRET as MAKE_SECRET

KEYS = {"AIONOTIFY_JWT_SECRET": SECRET}


def nowhere() -> dict[str, str]:
    """Return an environment without a reachable memcached, with a secret."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{free_port()}", **KEYS}


def test_commands_make_and_check_a_token(tmp_path: Path) -> None:
    python = shlex.quote(sys.executable)
    script = "\n".join((MAKE_SECRET, MAKE, CHECK)).replace(".venv/bin/python", python)
    result = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert result.stderr == ""
    assert "\nsub: '42'\nsubscribe: user.42\npublish: nothing\n" in result.stdout


async def status_of(session: aiohttp.ClientSession, url: str, text: str) -> int:
    """Return the status of a request with a token."""
    async with session.get(url, headers={"Authorization": f"Bearer {text}"}) as response:
        return response.status


async def test_application_signs_for_its_users() -> None:
    names: dict[str, Any] = {}
    example, _ = blocks("python", OPERATING)
    exec(compile(example, OPERATING, "exec"), names)
    text = names["token_for"]("42", SECRET)
    async with running_server(nowhere()) as server, aiohttp.ClientSession() as session:
        for topic, status in (("user.42", 200), ("public", 200), ("user.43", 403), ("main", 403)):
            url = f"{server.url}/messages?topic={topic}"
            assert await status_of(session, url, text) == status
        assert "tokens may publish, tokens may subscribe" in server.output()


async def test_token_of_8_kib_is_accepted_in_every_place() -> None:
    """The limits on lines and headers leave room for it."""
    padding = (8192 - len(token("subscribe:*", x=""))) * 3 // 4 - 4
    text = token("subscribe:*", x="x" * padding)
    assert 8170 < len(text) <= 8192
    async with running_server(nowhere()) as server, aiohttp.ClientSession() as session:
        url = f"{server.url}/messages"
        assert await status_of(session, url, text) == 200
        assert await status_of(session, f"{url}?token={text}", "") == 200
        async with session.get(url, headers={"Cookie": f"aionotify_token={text}"}) as response:
            assert response.status == 200
        assert await status_of(session, url, token("subscribe:*", x="x" * (padding + 9))) == 401


async def test_connections_end_with_their_token() -> None:
    """With the true clock, and in the log."""
    async with running_server(nowhere()) as server, aiohttp.ClientSession() as session:
        end = int(time.time()) + 3
        text = token("subscribe:*", exp=end)
        headers = {"Authorization": f"Bearer {text}"}
        async with (
            session.ws_connect(server.ws_url, headers=headers) as ws,
            session.get(f"{server.url}/events", headers=headers) as stream,
        ):
            frame, _ = await asyncio.gather(ws.receive(10), stream.read())
            assert (frame.data, frame.extra) == (3000, "the token expired")
        assert end <= time.time() < end + 3
        for path in ("/ws", "/events"):
            assert await status_of(session, server.url + path, text) == 401
        await server.stop()
        log = server.output()
    assert log.count("disconnected client 127.0.0.1:") == 2
    assert "the token expired (3000)" in log
    assert text not in log
