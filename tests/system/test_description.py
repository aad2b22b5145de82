"""The description of the interface is true: schemathesis holds the running server to it."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.support import ROOT, ServerProcess, running_server

ALONE = {"MEMCACHED_HOST": "127.0.0.1:1"}
ADMIN, USER = "admin-0123456789", "user-0123456789a"
TOKENS = {"AIONOTIFY_ADMIN_TOKEN": ADMIN, "AIONOTIFY_USER_TOKEN": USER}


async def schemathesis(server: ServerProcess, folder: Path, *arguments: str) -> str:
    """What it says at the end of a run in `folder` with every check. AssertionError if one fails.

    It speaks plain HTTP only: `/ws`, which answers 426 to that, and `/events`, which never ends,
    have tests of their own. And it leaves out by itself where it got the description from.
    """
    program = shutil.which("schemathesis")
    assert program, f"schemathesis is missing: python3 {ROOT / 'tests/run.py'}"
    process = await asyncio.create_subprocess_exec(
        *(program, "run", f"{server.url}/openapi.json", "--url", server.url),
        *("--exclude-path", "/ws", "--exclude-path", "/events", "--checks", "all"),
        *("--max-examples", "30", "--generation-deterministic", *arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["open", "with a token", "without the token"])
async def test_every_answer_is_as_described(kind: str, tmp_path: Path) -> None:
    arguments = ("-H", f"Authorization: Bearer {ADMIN}") if kind == "with a token" else ()
    async with running_server(ALONE if kind == "open" else {**ALONE, **TOKENS}) as server:
        said = await schemathesis(server, tmp_path, *arguments)
        document = json.loads((ROOT / "aionotify" / "web" / "openapi.json").read_bytes())
        operations = sum(len(methods) for methods in document["paths"].values())
        left_out = ["GET /ws", "GET /events", "GET /openapi.json"]
        assert f"Tested: {operations - len(left_out)}\n" in said
        assert "Traceback" not in server.output()
