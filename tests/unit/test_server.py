"""The server process: addresses, log lines, signals, and failed starts."""

import asyncio
import contextlib
import logging
import re
import signal
import socket

import aiohttp
import pytest
from websockets.asyncio.client import connect

from aionotify.incidents import Incidents
from aionotify.server import _OUT_OF_FILES, _report_missing_files, serve
from aionotify.settings import Settings
from tests.support import alone, eventually, exchange, free_port
from tests.support.access import ADMIN, USER
from tests.support.serving import serving

HELP = "; choose another with AIONOTIFY_HOST and AIONOTIFY_PORT"
WARNING = "anyone who can reach this server can publish: set AIONOTIFY_ADMIN_TOKEN"

Log = pytest.LogCaptureFixture


@pytest.fixture
def log(caplog: Log) -> Log:
    """The lines of the log from level info on."""
    caplog.set_level(logging.INFO)
    return caplog


async def urls(log: Log, count: int = 1) -> list[tuple[str, str]]:
    """Wait until `count` pairs of an http:// and a ws:// URL were logged, and return them."""
    await eventually(lambda: log.text.count("listening on ") == count)
    pairs = []
    for record in log.records:
        _, found, rest = record.getMessage().partition("listening on ")
        if found:
            http, and_, ws = rest.split()[:3]
            assert and_ == "and"
            pairs.append((http, ws))
    return pairs


async def can_be_pasted(http: str, ws: str) -> None:
    """Check that both URLs lead to the server."""
    async with aiohttp.ClientSession() as session, session.get(http) as response:
        assert await response.text() == '{"message":"FastAPI real-time notifications running!"}'
    async with connect(f"{ws}?client=admin") as client:
        await client.send("Hello")
        async with asyncio.timeout(5):
            while await client.recv() != "[Notification] Hello":
                pass


def has_ipv6() -> bool:
    """Return whether this machine has ::1."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


async def failure(settings: Settings, log: Log) -> str:
    """Return the line with which the server ends at once, with exit status 2."""
    assert await serve(settings) == 2
    (record,) = (each for each in log.records if each.levelno == logging.ERROR)
    return record.getMessage()


async def test_localhost_listens_on_ipv4_and_ipv6(log: Log) -> None:
    async with serving(alone(host="localhost", port=free_port())) as port:
        addresses = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]
        for address in addresses:
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
        pairs = await urls(log, len(addresses))
        names = ["localhost", "[::1]"][: len(addresses)]
        assert pairs == [(f"http://{name}:{port}", f"ws://{name}:{port}/ws") for name in names]
        for pair in pairs:
            await can_be_pasted(*pair)


async def test_localhost_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    create_server = socket.create_server

    def without_ipv6(address: tuple[str, int], **named: int) -> socket.socket:
        if named["family"] == socket.AF_INET6:
            raise OSError(99, "Cannot assign requested address")
        return create_server(address, family=named["family"], backlog=named["backlog"])

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    async with serving(alone(host="localhost", port=free_port())) as port:
        assert (await exchange(port, b"GET / HTTP/1.1")).status == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")],
)
async def test_logged_urls_can_be_pasted(host: str, shown: str, log: Log) -> None:
    async with serving(alone(host=host, port=free_port())) as port:
        (pair,) = await urls(log)
        assert pair == (f"http://{shown}:{port}", f"ws://{shown}:{port}/ws")
        await can_be_pasted(*pair)
        everywhere = " (on all addresses of this machine)\n" in log.text
        assert everywhere == (host == "0.0.0.0")


@pytest.mark.parametrize("host", ["::1", "::"])
async def test_ipv6_urls_have_brackets(host: str, log: Log) -> None:
    if not has_ipv6():
        line = await failure(alone(host=host, port=1234), log)
        assert line.startswith(f"cannot listen on [{host}]:1234: ")
        return
    async with serving(alone(host=host, port=free_port())) as port:
        (pair,) = await urls(log)
        assert pair == (f"http://[::1]:{port}", f"ws://[::1]:{port}/ws")
        await can_be_pasted(*pair)


async def reaches(address: str, port: int) -> bool:
    """Return whether the server answers on `address`."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(address, port)
        writer.close()
        return True
    return False


async def test_every_host_is_listened_on(log: Log) -> None:
    """Each address once, all on one port; an address that is named twice is no error."""
    hosts = "127.0.0.2,localhost,127.0.0.1,127.0.0.3"
    async with serving(alone(host=hosts, port=free_port())) as port:
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            assert await reaches(address, port)
        assert not await reaches("127.0.0.4", port)
        count = 4 if has_ipv6() else 3
        assert f"http://localhost:{port}" in {http for http, _ in await urls(log, count)}


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::", "::,0.0.0.0", "0.0.0.0,::"])
async def test_ipv6_wildcard_has_ipv4(host: str) -> None:
    """As in nginx, Docker and Go; the health check of the image uses 127.0.0.1."""
    async with serving(alone(host=host, port=free_port())) as port:
        assert await reaches("127.0.0.1", port)
        assert await reaches("::1", port)


async def test_failing_address_is_named(log: Log) -> None:
    """That one, and not the list; no socket is left open."""
    line = await failure(alone(host="127.0.0.1,192.0.2.1", port=free_port()), log)
    assert line.startswith("cannot listen on 192.0.2.1:")


async def test_start_line_has_versions_and_limits(log: Log) -> None:
    settings = alone(port=free_port(), max_connections=1234, admin_tokens=(ADMIN,))
    async with serving(settings):
        pass
    (line,) = (text for text in log.messages if text.startswith("aionotify "))
    found = re.fullmatch(
        r"aionotify \d+\.\d+\.\d+, Python \d+\.\d+\.\d+\S*, (uvloop|asyncio).*: at most 1,234 "
        r"clients, 65,536 bytes per message, 1,000 notifications per topic; tokens may publish, "
        r"anyone may subscribe",
        line,
    )
    assert found, line
    assert ADMIN not in log.text


async def test_ignored_hangup_stays_ignored() -> None:
    """As `nohup` arranges it for a server that outlives its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with serving() as port:
            signal.raise_signal(signal.SIGHUP)
            assert await reaches("127.0.0.1", port)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_other_errors_of_the_loop_are_reported(log: Log) -> None:
    """Only running out of files is summed up."""
    incidents = Incidents()
    loop = asyncio.get_running_loop()
    _report_missing_files(incidents)
    error = OSError(24, "Too many open files")
    for _ in range(3):
        loop.call_exception_handler({"message": _OUT_OF_FILES, "exception": error})
    loop.call_exception_handler({"message": "a callback failed"})
    loop.set_exception_handler(None)
    assert [text.partition(":")[0] for text in log.messages] == [
        "cannot accept connections (Too many open files)",
        "a callback failed",
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_port_in_use(host: str, log: Log) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = await failure(alone(host=host, port=port), log)
        assert line == f"cannot listen on {host}:{port}: Address already in use{HELP}"


async def test_foreign_address(log: Log) -> None:
    line = await failure(alone(host="192.0.2.1", port=1234), log)
    assert line == f"cannot listen on 192.0.2.1:1234: Cannot assign requested address{HELP}"


async def test_unknown_host_name(log: Log) -> None:
    line = await failure(alone(host="no.such.host.invalid", port=1234), log)
    assert line.startswith("cannot listen on no.such.host.invalid:1234: ")
    assert line.endswith(HELP)


@pytest.mark.parametrize(
    ("host", "admins", "users", "warned"),
    [
        ("0.0.0.0", (), (), True),
        ("0.0.0.0", (), (USER,), True),
        ("0.0.0.0", (ADMIN,), (), False),
        ("127.0.0.1", (), (), False),
    ],
)
async def test_exposed_server_without_token_warns(
    host: str, admins: tuple[str, ...], users: tuple[str, ...], warned: bool, log: Log
) -> None:
    settings = alone(host=host, port=free_port(), admin_tokens=admins, user_tokens=users)
    async with serving(settings):
        await urls(log)
    assert log.text.count(WARNING) == warned


async def test_second_port_is_logged_and_closed(log: Log) -> None:
    settings = alone(port=free_port(), metrics_port=free_port())
    async with serving(settings):
        line = f"metrics on http://127.0.0.1:{settings.metrics_port}/metrics"
        await eventually(lambda: line in log.messages)
        answer = await exchange(settings.metrics_port, b"GET /health HTTP/1.1")
        assert answer.status == b"HTTP/1.1 200 OK"
    assert not await reaches("127.0.0.1", settings.metrics_port)


async def test_second_port_in_use(log: Log) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = alone(port=free_port(), metrics_port=taken.getsockname()[1])
        assert await failure(settings, log) == (
            f"cannot listen on 127.0.0.1:{settings.metrics_port}: Address already in use; choose "
            "another with AIONOTIFY_HOST and AIONOTIFY_METRICS_PORT"
        )
    socket.create_server(("127.0.0.1", settings.port)).close()  # the first one was closed


@pytest.mark.parametrize("shared", [True, False])
async def test_shared_port_without_nats_warns(shared: bool, log: Log) -> None:
    async with serving(alone(port=free_port(), reuse_port=shared)):
        await urls(log)
    warned = [text for text in log.messages if text.startswith("AIONOTIFY_REUSE_PORT is on")]
    assert len(warned) == shared
