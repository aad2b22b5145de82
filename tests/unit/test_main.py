"""`python -m aionotify`: flags, first log lines, signals and exit status."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

import aionotify.__main__
from aionotify import __version__
from aionotify.settings import Settings
from tests.support import ROOT, ServerProcess, eventually, free_port, running_server
from tests.support.client import connected_clients
from tests.support.log_lines import without_times
from tests.support.raw_client import RawClient

PROBING = """
import sys
from aionotify.__main__ import main
from aionotify.cache.memcached import Memcached

connect = Memcached.connect

async def announced(address):
    print("probing", flush=True)
    return await connect(address)

Memcached.connect = announced
sys.exit(main(sys.argv[1:]))
"""
"""The program, but it prints a line when it starts to probe memcached."""


def run(
    *arguments: str, folder: Path, environment: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Run the program, and return its exit status, standard output and standard error."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIONOTIFY_", "MEMCACHED_"))
    }
    result = subprocess.run(
        [sys.executable, "-m", "aionotify", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        encoding="utf-8",
        timeout=9,
    )
    return result.returncode, result.stdout, result.stderr


def nowhere() -> dict[str, str]:
    """Return an environment without a reachable memcached."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{free_port()}"}


def test_version_is_printed(tmp_path: Path) -> None:
    assert run("--version", folder=tmp_path) == (0, f"aionotify {__version__}\n", "")
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_help_names_every_flag(tmp_path: Path) -> None:
    status, printed, complaint = run("--help", folder=tmp_path)
    assert (status, complaint) == (0, "")
    for flag in ("--host", "--port", "--env-file", "--log-level", "--version"):
        assert flag in printed


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--port", "http"],
            "aionotify: AIONOTIFY_PORT: invalid value 'http' (expected a port from 0 to 65535)\n",
        ),
        (
            ["--log-level", "loud"],
            "aionotify: AIONOTIFY_LOG_LEVEL: invalid value 'loud' (expected debug, info, warning "
            "or error)\n",
        ),
        (
            ["--host", "http://localhost"],
            "aionotify: AIONOTIFY_HOST: invalid value 'http://localhost' (expected a host name or "
            "an address without a port, or several separated by commas)\n",
        ),
        (["--env-file", "no.env"], "aionotify: --env-file: 'no.env' is not a file\n"),
    ],
)
def test_invalid_flag_exits_with_2(arguments: Sequence[str], line: str, tmp_path: Path) -> None:
    assert run(*arguments, folder=tmp_path) == (2, "", line)


def test_invalid_variable_exits_with_2(tmp_path: Path) -> None:
    line = (
        "aionotify: AIONOTIFY_RECENT_LIMIT: invalid value '0' (expected a whole number from 1 to "
        "1000)\n"
    )
    environment = {"AIONOTIFY_RECENT_LIMIT": "0"}
    assert run(folder=tmp_path, environment=environment) == (2, "", line)
    (tmp_path / ".env").write_text("AIONOTIFY_RECENT_LIMIT=0\n", encoding="utf-8")
    assert run(folder=tmp_path) == (2, "", line)


def test_unknown_flag_exits_with_2(tmp_path: Path) -> None:
    status, printed, complaint = run("--prot", "1", folder=tmp_path)
    assert (status, printed) == (2, "")
    assert "unrecognized arguments: --prot" in complaint


def test_flags_become_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Flags that are not given leave the setting to the environment and the file."""
    run_with: list[Settings] = []

    def keep(settings: Settings) -> int:
        run_with.append(settings)
        return 0

    monkeypatch.setattr(aionotify.__main__, "_run", keep)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIONOTIFY_PORT", "1")
    monkeypatch.setenv("AIONOTIFY_HEARTBEAT", "2")
    file = tmp_path / "file.env"
    file.write_text("AIONOTIFY_HEARTBEAT=3\nAIONOTIFY_STALL_TIMEOUT=4\n", encoding="utf-8")
    arguments = ["--host", "a.example", "--port", "5", "--log-level", "ERROR", "--env-file"]
    assert aionotify.__main__.main([*arguments, str(file)]) == 0
    assert run_with == [
        Settings(host="a.example", port=5, log_level="error", heartbeat=2, stall_timeout=4)
    ]


async def test_start_and_stop_are_logged() -> None:
    environment = nowhere()
    async with running_server(environment) as server:
        start, *others = without_times(server.output())
        assert start.startswith(f"INFO    aionotify.server: aionotify {__version__}, Python 3.")
        assert others == [
            f"WARNING aionotify.cache: memcached is unavailable ({environment['MEMCACHED_HOST']}: "
            "connection refused): keeping recent notifications in memory, retrying in the "
            "background",
            f"INFO    aionotify.server: listening on http://127.0.0.1:{server.port} and "
            f"ws://127.0.0.1:{server.port}/ws",
        ]
        assert await server.stop(signal.SIGTERM) == 0
        assert without_times(server.output())[3:] == [
            "INFO    aionotify.server: stopping: clients are being closed",
            "INFO    aionotify.server: stopped",
        ]


@pytest.mark.parametrize(
    ("level", "printed"), [("info", ["WARNING", "ERROR"]), ("error", ["ERROR"])]
)
def test_log_level_filters_lines(level: str, printed: list[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = {**nowhere(), "AIONOTIFY_PROT": "1", "AIONOTIFY_HOST": "127.0.0.1"}
        status, _, logged = run(
            *("--log-level", level, "--port", port), folder=tmp_path, environment=environment
        )
        assert status == 2
        assert [line.split()[1] for line in logged.splitlines()] == printed


async def test_unknown_setting_is_logged() -> None:
    async with running_server({**nowhere(), "AIONOTIFY_RECENT_LIMT": "7"}) as server:
        assert without_times(server.output())[0] == (
            "WARNING aionotify: unknown setting AIONOTIFY_RECENT_LIMT is ignored; did you mean "
            "AIONOTIFY_RECENT_LIMIT?"
        )


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name
)
async def test_signal_closes_clients_with_1012(
    number: signal.Signals,
) -> None:
    async with running_server(nowhere()) as server:
        urls = [server.ws_url, f"{server.ws_url}?client=admin"] * 5
        clients = await asyncio.gather(*(connect(url) for url in urls))
        assert await server.stop(number) == 0
        for client in clients:
            await client.wait_closed()
            assert client.close_code == 1012
        assert "Traceback" not in server.output()


async def test_repeated_signals_stop_cleanly() -> None:
    async with running_server(nowhere()) as server, connect(server.ws_url):
        server.process.send_signal(signal.SIGINT)
        server.process.send_signal(signal.SIGTERM)
        assert await server.stop(signal.SIGINT) == 0
        assert "Traceback" not in server.output()


async def is_connected(server: ServerProcess) -> bool:
    """Return whether a client is connected."""
    return await connected_clients(server.url) == 1


async def test_second_ctrl_c_ends_at_once() -> None:
    """While the server waits for a client that does not answer; nothing else is cut short."""
    environment = {**nowhere(), "AIONOTIFY_SHUTDOWN_GRACE": "60"}
    async with running_server(environment) as server:
        client = await RawClient.connect(server.port)
        await eventually(lambda: is_connected(server))
        server.process.send_signal(signal.SIGINT)
        await eventually(lambda: "stopping: clients are being closed" in server.output())
        async with asyncio.timeout(3):  # a client has 5 s to answer its close frame
            assert await server.stop(signal.SIGINT) == 0
        await eventually(lambda: client.closed)
        assert "stopping at once" in server.output()
        assert server.output().endswith("aionotify.server: stopped\n")
        assert "Traceback" not in server.output()


async def test_hangup_behind_sigterm_is_no_hurry() -> None:
    """Systemd sends both with `SendSIGHUP=yes`: clients still get their time."""
    async with running_server(nowhere()) as server, connect(server.ws_url) as client:
        server.process.send_signal(signal.SIGTERM)
        assert await server.stop(signal.SIGHUP) == 0
        await client.wait_closed()
        assert client.close_code == 1012
        assert "stopping at once" not in server.output()


async def test_signal_during_start_stops_cleanly(tmp_path: Path) -> None:
    """The signal comes while the server probes a memcached that never answers."""
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as silent, log.open("wb") as printed:
        port = silent.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROBING, "--port", "0"),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "MEMCACHED_HOST": f"127.0.0.1:{port}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=printed,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"probing\n"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 8) == 0
    assert "Traceback" not in log.read_text(encoding="utf-8")
