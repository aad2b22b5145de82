"""Every snippet of `/docs` works: in a shell, in Chromium, and as a Python program."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.generate.docs_cards import Operation, operations
from tests.generate.docs_page import DOCUMENT
from tests.support import ROOT, ServerProcess, eventually, running_server
from tests.support.browser import WITHOUT_MEMCACHED, live_page, publish

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "published later"
"""Published again and again while a snippet runs that subscribes."""

PRINTED = {
    "connect": LATER,
    "stream": LATER,
    "client": LATER,
    "publish": "Hello",
    "retained": "published before",
    "messages": "published before",
    "greeting": "FastAPI real-time notifications running!",
    "health": "connected_websockets",
    "metrics": "aionotify_",
}
"""Text in the output of the snippets of each operation."""

SOURCES = {("client", "Shell"): "export function listen"}
"""The same where the languages of an operation differ: curl prints the client."""

KEEP = "window.printed = []; console.log = (...values) => printed.push(JSON.stringify(values))"
"""JavaScript that keeps what a snippet prints: Chromium shortens objects in its console."""

OPERATIONS = {
    each.id: each for each in operations(json.loads(DOCUMENT.read_text(encoding="utf-8")))
}
SNIPPETS = [(id, sample["lang"]) for id, each in OPERATIONS.items() for sample in each.samples]


def source(id: str, language: str, server: ServerProcess) -> str:
    """Return a snippet, addressed to `server`."""
    operation: Operation = OPERATIONS[id]
    (text,) = (each["source"] for each in operation.samples if each["lang"] == language)
    address = f"127.0.0.1:{server.port}"
    assert "localhost:8000" in text
    return str(text.replace("localhost:8000", address))


async def test_every_operation_but_files_has_snippets() -> None:
    """`/client.js` is for JavaScript, so it has none in Python."""
    languages = {"Shell", "JavaScript", "Python"}
    for id, operation in OPERATIONS.items():
        found = {each["lang"] for each in operation.samples}
        is_file = "304" in operation.part["responses"]
        assert found == languages or (is_file and found <= languages - {"Python"}), id
    assert set(PRINTED) == {id for id, _ in SNIPPETS}


@pytest.mark.parametrize(("id", "language"), [each for each in SNIPPETS if each[1] != "JavaScript"])
async def test_program_prints_what_it_asks_for(id: str, language: str, tmp_path: Path) -> None:
    async with running_server(WITHOUT_MEMCACHED) as server:
        await publish(server, "published before")
        text = source(id, language, server)
        command = ["bash", "-c", text] if language == "Shell" else [sys.executable, "-c", text]
        log = tmp_path / "log"

        async def printed() -> str:
            return log.read_text(encoding="utf-8")

        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,  # stays open: wscat ends with its input
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            await wait_for(id, language, server, printed)
            if expected(id, language) != LATER:
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    assert "Traceback" not in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("id", [id for id, language in SNIPPETS if language == "JavaScript"])
async def test_script_prints_what_it_asks_for(chromium: Browser, id: str) -> None:
    """In a page of the server that has no policy: the greeting."""
    async with (
        running_server(WITHOUT_MEMCACHED) as server,
        live_page(chromium, f"{server.url}/") as page,
    ):
        await publish(server, "published before")
        await page.page.evaluate(KEEP)
        await page.page.add_script_tag(type="module", content=source(id, "JavaScript", server))

        async def printed() -> str:
            return str(await page.page.evaluate("printed.join('\\n')"))

        await wait_for(id, "JavaScript", server, printed)
        assert page.unexpected_errors() == []


def expected(id: str, language: str) -> str:
    """Return the text that a snippet prints."""
    return SOURCES.get((id, language), PRINTED[id])


async def wait_for(
    id: str, language: str, server: ServerProcess, output: Callable[[], Awaitable[str]]
) -> None:
    """Wait until the output has the text that PRINTED expects."""
    text = expected(id, language)

    async def is_there() -> bool:
        if text == LATER:
            await publish(server, LATER)
        return text in await output()

    await eventually(is_there, 10, f"{text!r} in the output of {id} in {language}")
