"""Every command of the README does what the README says it does."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from aionotify.settings import read_settings
from tests.support import (
    ROOT,
    MemcachedProcess,
    ServerProcess,
    eventually,
    free_port,
    running_server,
)

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(language: str) -> list[str]:
    """Their lines: each is one command."""
    return [line for block in blocks(language) for line in block.splitlines()]


INSTALL = (
    "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt "
    "&& .venv/bin/python -m aionotify"
)
LISTEN = "wscat -c ws://localhost:8000/ws"
SEND = "wscat -c 'ws://localhost:8000/ws?client=admin' -x 'Hello from an admin'"
HEALTH = "curl http://localhost:8000/health"
MESSAGES = "curl http://localhost:8000/messages"
HOSTS = "MEMCACHED_HOST=cache1,cache2:11300 .venv/bin/python -m aionotify"
DEPLOY = "curl -d 'Deploy finished' http://localhost:8000/notifications"
COMPOSE = "docker compose -f docker/compose.yaml up --build"
BUILD = "docker build -f docker/Dockerfile -t aionotify ."
RUN = "docker run --rm -p 8000:8000 aionotify"
TESTS = "python3 tests/run.py"
ONE_TEST = "python3 tests/run.py tests/test_log.py"
BENCH = ".venv/bin/python -m tests.bench"
LATENCY_BUCKETS = ".venv/bin/python -m tests.bench --quick"


def test_no_command_of_the_readme_is_unknown_here() -> None:
    assert commands("sh") == [
        *(INSTALL, LISTEN, SEND, HEALTH, MESSAGES, DEPLOY, HOSTS, COMPOSE, BUILD, RUN),
        *(TESTS, ONE_TEST, BENCH, LATENCY_BUCKETS),
    ]


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    """What the reader has running, on a port of its own."""
    async with running_server({"MEMCACHED_HOST": f"127.0.0.1:{free_port()}"}) as process:
        yield process


def here(command: str, server: ServerProcess) -> list[str]:
    """`command` as words, for the server at hand."""
    return shlex.split(command.replace("localhost:8000", f"127.0.0.1:{server.port}"))


async def output(words: list[str]) -> str:
    """Run a program to its end, and return what it printed."""
    assert shutil.which(words[0]), f"{words[0]} is missing: python3 {ROOT / 'tests/run.py'}"
    process = await asyncio.create_subprocess_exec(
        *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )  # an input that stays open: at the end of it, wscat leaves without a word
    assert process.stdout is not None
    printed = await process.stdout.read()
    assert await process.wait() == 0, words
    return printed.decode()


async def test_what_one_wscat_sends_the_other_shows_and_curl_tells(server: ServerProcess) -> None:
    listener = await asyncio.create_subprocess_exec(
        *here(LISTEN, server), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert listener.stdin is not None
    assert listener.stdout is not None
    shown: list[str] = []

    async def read() -> None:
        assert listener.stdout is not None
        while chunk := await listener.stdout.read(4096):
            shown.append(chunk.decode())

    reading = asyncio.create_task(read())
    try:
        await eventually(lambda: connected(server, 1))
        await output(here(SEND, server))
        await eventually(lambda: "[Notification] Hello from an admin" in "".join(shown))
        listener.stdin.write(b"admin:Hello from a user\n")
        await eventually(lambda: "[Notification] Hello from a user" in "".join(shown))
        listener.stdin.write(b"Hello\n")
        refusal = "You are not authorized to send notifications."
        await eventually(lambda: refusal in "".join(shown))
    finally:
        listener.kill()
        await listener.wait()
        await reading
    assert '"message":"Deploy finished"}' in await output(here(DEPLOY, server))
    assert '"recent_notifications_count":3' in await output(here(HEALTH, server))
    assert await output(here(MESSAGES, server)) == (
        '{"recent_messages":["Hello from an admin","Hello from a user","Deploy finished"]}'
    )


async def connected(server: ServerProcess, count: int) -> bool:
    return f'"connected_websockets":{count}' in await output(here(HEALTH, server))


@pytest.mark.timeout(90)  # installs from the package index
async def test_the_first_command_installs_and_runs_the_server(tmp_path: Path) -> None:
    for name in ("aionotify", "requirements.txt"):
        source = ROOT / name
        copy: Callable[..., object] = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    port = free_port()
    environment = {**os.environ, "AIONOTIFY_PORT": str(port)}
    log = tmp_path / "log"
    with log.open("wb") as printed:
        process = await asyncio.create_subprocess_shell(
            f"{INSTALL.replace('python3', sys.executable, 1)}",
            cwd=tmp_path,
            env=environment,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )
    try:
        await eventually(
            lambda: f"listening on http://localhost:{port}" in log.read_text(),
            80,
            "the server listens",
        )
    finally:
        os.killpg(process.pid, signal.SIGINT)
        await process.wait()
    assert "stopped" in log.read_text()


def test_the_hosts_are_those_that_the_command_names() -> None:
    variable, _, value = HOSTS.split(" ")[0].partition("=")
    settings, hints = read_settings({}, None, {variable: value})
    assert [str(each) for each in settings.memcached_addresses] == ["cache1:11211", "cache2:11300"]
    assert hints == []


def test_the_files_that_the_docker_commands_name_are_there() -> None:
    """What they do is tried where there is an engine: the containers' own tests do the rest."""
    for command in (COMPOSE, BUILD):
        words = shlex.split(command)
        assert (ROOT / words[words.index("-f") + 1]).is_file()


async def test_one_file_of_tests_can_be_run_alone() -> None:
    process = await asyncio.create_subprocess_exec(
        *shlex.split(ONE_TEST), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    assert re.search(r"\d+ passed", printed.decode())


def test_the_test_command_is_what_ci_runs_and_it_runs_the_benchmark() -> None:
    assert TESTS in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    runner = (ROOT / "tests" / "run.py").read_text(encoding="utf-8")
    assert "tests.bench" in runner
    assert "--quick" in runner


def test_the_powershell_commands_are_those_of_the_shell() -> None:
    install, hosts = commands("powershell")
    assert install == INSTALL.replace("python3", "py").replace(" &&", ";").replace(
        ".venv/bin/", ".venv\\Scripts\\"
    )
    assert (
        hosts == '$env:MEMCACHED_HOST = "cache1,cache2:11300"; .venv\\Scripts\\python -m aionotify'
    )


async def test_the_example_of_mounting_serves_under_its_prefix(
    monkeypatch: pytest.MonkeyPatch, aiohttp_client: Callable[..., Awaitable[object]]
) -> None:
    from aiohttp import web
    from aiohttp.test_utils import TestClient

    mounted: list[web.Application] = []
    monkeypatch.setattr(web, "run_app", mounted.append)
    monkeypatch.setenv("MEMCACHED_HOST", "127.0.0.1:1")
    _, example = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    client = await aiohttp_client(mounted[0])
    assert isinstance(client, TestClient)
    async with client.get("/notify/messages") as response:
        assert await response.text() == '{"recent_messages":[]}'


async def test_the_python_consumer_resumes_after_a_restart(
    tmp_path: Path, memcached: MemcachedProcess
) -> None:
    consumer, _ = blocks("python")
    port, log = free_port(), tmp_path / "log"
    program = tmp_path / "consumer.py"
    program.write_text(consumer.replace("localhost:8000", f"127.0.0.1:{port}"), encoding="utf-8")
    environment = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}

    def printed(line: str) -> bool:
        return line in log.read_text(encoding="utf-8").splitlines()

    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), stdout=output, stderr=output
        )
    try:
        async with running_server(environment, "--port", str(port)) as server:
            await eventually(lambda: connected(server, 1))
            await deploy(server)
            await eventually(lambda: printed("Deploy finished"))
            assert await server.stop() == 0
        async with running_server(environment, "--port", str(port)) as server:
            await deploy(server)
            await eventually(lambda: log.read_text().count("Deploy finished") == 2)
            await server.stop(signal.SIGKILL)
        async with running_server(environment, "--port", str(port)) as server:
            await eventually(lambda: printed("missed: unknown"))
    finally:
        process.kill()
        await process.wait()
    assert "Traceback" not in log.read_text(encoding="utf-8")


async def deploy(server: ServerProcess) -> None:
    """The recipe of the shell."""
    assert "Deploy finished" in await output(here(DEPLOY, server))
