"""Every command and example for users and operators works as documented."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aionotify.settings import options, read_settings
from tests.support import (
    ROOT,
    MemcachedProcess,
    ServerProcess,
    eventually,
    free_port,
    running_server,
)
from tests.support.documents import OPERATING, README, blocks, commands, read

INSTALL = (
    "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt "
    "&& .venv/bin/python -m aionotify"
)
SUBSCRIBE = "wscat -c ws://localhost:8000/ws"
PUBLISH = "wscat -c 'ws://localhost:8000/ws?client=admin' -x 'Hello from an admin'"
STREAM = "curl -N http://localhost:8000/events"
HELLO = "curl -d 'Hello' http://localhost:8000/notifications"
HEALTH = "curl http://localhost:8000/health"
MESSAGES = "curl http://localhost:8000/messages"
DEPLOY = "curl -d 'Deploy finished' http://localhost:8000/notifications"
TESTS = "python3 tests/run.py"

COMPOSE = "docker compose -f docker/compose.yaml up --build"
TOKENS = "openssl rand -hex 32 > docker/admin_token && openssl rand -hex 32 > docker/user_token"
COMPOSE_TLS = "DOMAIN=notify.example.com docker compose -f docker/compose.tls.yaml up --build"
BUILD = "docker build -f docker/Dockerfile -t aionotify ."
PASSWORD = (
    'export NATS_PASSWORD="$(openssl rand -hex 24)" NATS_ROUTE_PASSWORD="$(openssl rand -hex 24)"'
)
CLUSTER = "docker compose -f docker/compose.cluster.yaml up --build"
RUN = "docker run --rm -p 127.0.0.1:8000:8000 aionotify"
HOSTS = "MEMCACHED_HOST=cache1,cache2:11300 .venv/bin/python -m aionotify"
TOKEN = "openssl rand -hex 32"
SECRET = 'export AIONOTIFY_JWT_SECRET="$(openssl rand -hex 32)"'
MAKE = (
    'TOKEN="$(.venv/bin/python -m aionotify token --sub 42 '
    "--scope 'subscribe:user.42' --expires 1h)\""
)
CHECK = 'echo "$TOKEN" | .venv/bin/python -m aionotify token --check -'

COMMANDS = {
    README: [INSTALL, STREAM, HELLO, MESSAGES, SUBSCRIBE, PUBLISH, DEPLOY, TESTS],
    OPERATING: [
        *(COMPOSE, BUILD, RUN, TOKENS, COMPOSE_TLS, HOSTS, PASSWORD, CLUSTER),
        *(TOKEN, SECRET, MAKE, CHECK),
    ],
}
"""Each of these is run by a test below, in test_tour.py, test_jwt_recipe.py or
test_compose_cluster.py.

test_contributing.py has those for developers.
"""

README_LINES = 180


@pytest.mark.parametrize("document", COMMANDS)
def test_every_command_is_tested(document: str) -> None:
    assert commands("sh", document) == COMMANDS[document]


def test_readme_is_short() -> None:
    assert len(read(README).splitlines()) <= README_LINES


def test_settings_in_readme_exist() -> None:
    named = re.findall(r"^\| `([A-Z_]+)` \|", read(README), re.MULTILINE)
    assert len(named) == 5
    assert set(named) <= {each.variable for each in options()}


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    """Start the server of the reader, on a free port."""
    async with running_server({"MEMCACHED_HOST": f"127.0.0.1:{free_port()}"}) as process:
        yield process


def here(command: str, server: ServerProcess) -> list[str]:
    """Return `command` as words, addressed to `server`."""
    return shlex.split(command.replace("localhost:8000", f"127.0.0.1:{server.port}"))


async def output(words: list[str]) -> str:
    """Run a program to its end, and return its output."""
    assert shutil.which(words[0]), f"{words[0]} is missing: python3 {ROOT / 'tests/run.py'}"
    process = await asyncio.create_subprocess_exec(
        *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )  # the input stays open, because wscat 6.1 exits without sending when it ends
    assert process.stdout is not None
    printed = await process.stdout.read()
    assert await process.wait() == 0, words
    return printed.decode()


async def test_wscat_and_curl_commands_work(server: ServerProcess) -> None:
    listener = await asyncio.create_subprocess_exec(
        *here(SUBSCRIBE, server), stdin=subprocess.PIPE, stdout=subprocess.PIPE
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
        await output(here(PUBLISH, server))
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


def test_hosts_command_names_the_hosts() -> None:
    variable, _, value = HOSTS.split(" ")[0].partition("=")
    settings, hints = read_settings({}, None, {variable: value})
    assert [str(each) for each in settings.memcached_addresses] == ["cache1:11211", "cache2:11300"]
    assert hints == []


def test_docker_commands_name_existing_files() -> None:
    for command in (COMPOSE, COMPOSE_TLS, CLUSTER, BUILD):
        words = shlex.split(command)
        assert (ROOT / words[words.index("-f") + 1]).is_file()


def test_token_command_makes_a_valid_token() -> None:
    printed = subprocess.run(shlex.split(TOKEN), capture_output=True, encoding="utf-8", check=True)
    token = printed.stdout.strip()
    settings, hints = read_settings({}, None, {"AIONOTIFY_ADMIN_TOKEN": token})
    assert settings.admin_tokens == (token,)
    assert hints == []


def test_token_files_are_those_of_the_public_server(tmp_path: Path) -> None:
    """Under `docker/`, where compose.tls.yaml looks for them."""
    (tmp_path / "docker").mkdir()
    subprocess.run(TOKENS, shell=True, cwd=tmp_path, check=True)
    files = {
        f"{kind}_TOKEN_FILE": tmp_path / "docker" / f"{kind.lower()}_token"
        for kind in ("ADMIN", "USER")
    }
    variables = {f"AIONOTIFY_{name}": str(path) for name, path in files.items()}
    settings, hints = read_settings({}, None, variables)
    assert len(settings.admin_tokens) == len(settings.user_tokens) == 1
    assert hints == []


def test_powershell_commands_match_the_shell() -> None:
    assert commands("powershell") == [
        INSTALL.replace("python3", "py")
        .replace(" &&", ";")
        .replace(".venv/bin/", ".venv\\Scripts\\")
    ]
    assert commands("powershell", OPERATING) == [
        '$env:MEMCACHED_HOST = "cache1,cache2:11300"; .venv\\Scripts\\python -m aionotify'
    ]


async def test_mounting_example_serves_under_its_prefix(
    monkeypatch: pytest.MonkeyPatch, aiohttp_client: Callable[..., Awaitable[object]]
) -> None:
    from aiohttp import web
    from aiohttp.test_utils import TestClient

    mounted: list[web.Application] = []
    monkeypatch.setattr(web, "run_app", mounted.append)
    monkeypatch.setenv("MEMCACHED_HOST", "127.0.0.1:1")
    _, example = blocks("python", OPERATING)
    exec(compile(example, OPERATING, "exec"), {})
    client = await aiohttp_client(mounted[0])
    assert isinstance(client, TestClient)
    async with client.get("/notify/messages") as response:
        assert await response.text() == '{"recent_messages":[]}'


async def test_python_consumer_resumes_after_a_restart(
    tmp_path: Path, memcached: MemcachedProcess
) -> None:
    environment = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
    async with running_server(environment) as server, consumer(server, tmp_path) as printed:
        await deploy(server)
        await eventually(lambda: printed("Deploy finished") == 1)
        assert await server.stop() == 0
        async with running_server(environment, "--port", f"{server.port}") as server:
            await deploy(server)
            await eventually(lambda: printed("Deploy finished") == 2)
    assert not printed("missed:")


async def test_python_consumer_is_told_of_a_crash(
    tmp_path: Path, memcached: MemcachedProcess
) -> None:
    environment = {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}"}
    async with running_server(environment) as server, consumer(server, tmp_path) as printed:
        await deploy(server)
        await eventually(lambda: printed("Deploy finished") == 1)
        await server.stop(signal.SIGKILL)
        async with running_server(environment, "--port", f"{server.port}"):
            await eventually(lambda: printed("missed: unknown") == 1)


@asynccontextmanager
async def consumer(server: ServerProcess, folder: Path) -> AsyncIterator[Callable[[str], int]]:
    """Run the recipe, connected to `server`. Yield how often it has printed a text.

    AssertionError if it prints a traceback.
    """
    (recipe,) = blocks("python")
    program, log = folder / "consumer.py", folder / "log"
    address = f"127.0.0.1:{server.port}"
    program.write_text(recipe.replace("localhost:8000", address), encoding="utf-8")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(program)),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )

    def printed(text: str) -> int:
        return log.read_text(encoding="utf-8").count(text)

    try:
        await eventually(lambda: connected(server, 1))
        yield printed
    finally:
        process.kill()
        await process.wait()
    assert not printed("Traceback"), log.read_text(encoding="utf-8")


async def deploy(server: ServerProcess) -> None:
    """Publish with the recipe for shell scripts."""
    assert "Deploy finished" in await output(here(DEPLOY, server))
