"""`openapi.json` is true: schemathesis compares a running server with it, and a linter reads it."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support import ROOT, ServerProcess, running_server

WITHOUT_MEMCACHED = {"MEMCACHED_HOST": "127.0.0.1:1"}
ADMIN, USER = "admin-0123456789", "user-0123456789a"
TOKENS = {**WITHOUT_MEMCACHED, "AIONOTIFY_ADMIN_TOKEN": ADMIN, "AIONOTIFY_USER_TOKEN": USER}
DOCUMENT = ROOT / "aionotify" / "web" / "openapi.json"
HOOKS = "tests.support.schemathesis_hooks"


async def schemathesis(server: ServerProcess, folder: Path, *arguments: str) -> str:
    """Run all checks in `folder`, and return the output. AssertionError if a check fails.

    Schemathesis supports plain HTTP only, so `/ws`, which needs an upgrade, and `/events`, which
    never ends, are left to other tests. It skips the path that it loads the document from.
    """
    program = shutil.which("schemathesis")
    assert program, f"schemathesis is missing: python3 {ROOT / 'tests/run.py'}"
    process = await asyncio.create_subprocess_exec(
        *(program, "run", f"{server.url}/openapi.json", "--url", server.url),
        *("--exclude-path", "/ws", "--exclude-path", "/events", "--checks", "all"),
        *("--max-examples", "30", "--generation-deterministic", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": HOOKS},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


@pytest.mark.parametrize("kind", ["open", "with a token", "without the token"])
async def test_responses_match_openapi(kind: str, tmp_path: Path) -> None:
    arguments = ("-H", f"Authorization: Bearer {ADMIN}") if kind == "with a token" else ()
    async with running_server(WITHOUT_MEMCACHED if kind == "open" else TOKENS) as server:
        output = await schemathesis(server, tmp_path, *arguments)
        document = json.loads(DOCUMENT.read_bytes())
        operations = sum(len(methods) for methods in document["paths"].values())
        skipped = ["GET /ws", "GET /events", "GET /openapi.json"]
        assert f"Tested: {operations - len(skipped)}\n" in output
        assert "Traceback" not in server.output()


async def test_linter_finds_nothing() -> None:
    """`.redocly.yaml` says which rules cannot hold, and what holds instead."""
    program = shutil.which("redocly")
    assert program, f"redocly is missing: python3 {ROOT / 'tests/run.py'}"
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    process = await asyncio.create_subprocess_exec(
        *(program, "lint", "--config", ".redocly.yaml", "--format=json", str(DOCUMENT)),
        cwd=ROOT,
        env={**os.environ, **quiet},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    printed, _ = await process.communicate()
    found = json.loads(printed)
    assert found["problems"] == []
    assert found["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}
    assert process.returncode == 0
