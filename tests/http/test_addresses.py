"""Clients from one address, up to `AIONOTIFY_MAX_CONNECTIONS_PER_ADDRESS`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify.app import create_app
from aionotify.keys import BROKER, HUB
from tests.support import alone, eventually, exchange, free_port
from tests.support.app import RunningApp, Serve
from tests.support.raw_client import handshake
from tests.support.serving import serving
from tests.support.tls import client_tls, server_tls

pytestmark = pytest.mark.both_loops

STREAM = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
REQUESTS = {"websocket": handshake(), "stream": STREAM}

CLOSE = b"\x88\x82\x00\x00\x00\x00\x03\xe8"
"""A close frame with the code 1000."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(
    port: int, request: bytes, *fields: str, host: str = "127.0.0.1", tls: bool = False
) -> tuple[int, Connection]:
    """Send `request` with the header `fields`; return the status and the open connection."""
    connection = await asyncio.open_connection(host, port, ssl=client_tls() if tls else None)
    lines = "".join(f"{field}\r\n" for field in fields).encode()
    connection[1].write(request.removesuffix(b"\r\n") + lines + b"\r\n")
    head = await asyncio.wait_for(connection[0].readuntil(b"\r\n\r\n"), 5)
    return int(head.split()[1]), connection


@asynccontextmanager
async def connected(port: int, *fields: str, host: str = "127.0.0.1") -> AsyncIterator[None]:
    """Connect a client that must be accepted."""
    status, (_, writer) = await ask(port, handshake(), *fields, host=host)
    assert status == 101
    yield
    writer.close()


async def status_of(port: int, *fields: str, host: str = "127.0.0.1") -> int:
    """Return the status of another client, which leaves at once."""
    status, (_, writer) = await ask(port, handshake(), *fields, host=host)
    writer.transport.abort()
    return status


async def test_client_past_the_limit_is_429(serve: Serve) -> None:
    """A WebSocket or a stream; requests that are answered at once go on."""
    running = await serve(max_connections_per_address=2)
    _, websocket = await ask(running.port, REQUESTS["websocket"])
    _, stream = await ask(running.port, REQUESTS["stream"])
    for path in (b"/ws", b"/events"):
        lines = handshake(path.decode()).split(b"\r\n")[2:-2]
        answer = await exchange(running.port, b"GET %b HTTP/1.1" % path, *lines)
        assert answer.status == b"HTTP/1.1 429 Too Many Requests"
        assert {b"Retry-After: 5", b"Content-Type: application/json"} <= {*answer.headers}
        assert answer.body == (
            b'{"detail":"Too many clients are connected from your address. Close some of them, or '
            b'try again later."}'
        )
    for line in (b"GET /health", b"GET /notifications", b"HEAD /events"):
        answer = await exchange(running.port, line + b" HTTP/1.1")
        assert answer.status == b"HTTP/1.1 200 OK"
    for _, writer in (websocket, stream):
        writer.close()


async def test_addresses_count_apart() -> None:
    settings = alone(host="localhost", port=free_port(), max_connections_per_address=1)
    async with (
        serving(settings) as port,
        connected(port, host="127.0.0.1"),
        connected(port, host="::1"),
    ):
        assert await status_of(port, host="127.0.0.1") == 429
        assert await status_of(port, host="::1") == 429


async def test_address_on_two_sockets_counts_once() -> None:
    """Where one socket listens on IPv6 and IPv4, the peer is ::ffff:127.0.0.1."""
    settings = alone(host="::", port=free_port(), max_connections_per_address=1)
    async with serving(settings) as port, connected(port, host="127.0.0.1"):
        assert await status_of(port, host="127.0.0.1") == 429
        assert await status_of(port, host="::1") == 101


async def test_address_behind_the_proxy_counts(serve: Serve) -> None:
    """Those for which the proxy reports none count as the proxy."""
    running = await serve(max_connections_per_address=1, trusted_proxies=1)
    first, second = "X-Forwarded-For: 2001:db8::1", "X-Forwarded-For: 198.51.100.7"
    async with connected(running.port, first), connected(running.port, second):
        assert await status_of(running.port, "X-Forwarded-For: 2001:db8::9") == 429
        assert await status_of(running.port, "Forwarded: for=198.51.100.7") == 429
        assert await status_of(running.port, "X-Forwarded-For: ::ffff:198.51.100.7") == 429
        async with connected(running.port, "X-Forwarded-For: unknown"):
            assert await status_of(running.port, "X-Forwarded-For: made up") == 429
            assert await status_of(running.port) == 429


async def test_forwarded_address_needs_a_trusted_proxy(serve: Serve) -> None:
    running = await serve(max_connections_per_address=1)
    async with connected(running.port, "X-Forwarded-For: 192.0.2.1"):
        assert await status_of(running.port, "X-Forwarded-For: 192.0.2.2") == 429


async def says_goodbye(client: Connection, running: RunningApp) -> None:
    """Close the WebSocket, or half-close the connection of a stream."""
    reader, writer = client
    writer.write(CLOSE)
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 5)


async def hangs_up(client: Connection, running: RunningApp) -> None:
    """Reset the connection."""
    client[1].transport.abort()


async def breaks_the_protocol(client: Connection, running: RunningApp) -> None:
    """Send a frame that is none, and leave the connection open."""
    client[1].write(b"\xff" * 20)


async def is_disconnected(client: Connection, running: RunningApp) -> None:
    """Be aborted by the server."""
    for subscriber in running.app[HUB].subscribers():
        subscriber.transport.abort()


async def is_closed_for_restart(client: Connection, running: RunningApp) -> None:
    """Stay connected until the server stops."""
    await running.app[HUB].shutdown(0.1)
    running.app[HUB].open()


Ending = Callable[[Connection, RunningApp], Awaitable[None]]
ENDINGS: list[Ending] = [says_goodbye, hangs_up, is_disconnected, is_closed_for_restart]


async def frees_its_place(running: RunningApp, request: bytes, end: Ending, *, tls: bool) -> None:
    """End connections one after another; AssertionError unless each frees exactly one place."""
    addresses = running.app[HUB].stats.addresses
    for _ in range(3):
        clients = [await ask(running.port, request, tls=tls) for _ in range(2)]
        assert [status for status, _ in clients] == [200 if request is STREAM else 101] * 2
        assert addresses._counts == {"127.0.0.1": 2}
        for _, client in clients:
            await end(client, running)
        await eventually(lambda: addresses._counts == {}, 5, "both places are free")
        for _, (_, writer) in clients:
            writer.transport.abort()


@pytest.mark.parametrize("request_kind", REQUESTS)
@pytest.mark.parametrize("end", ENDINGS)
async def test_every_end_frees_one_place(serve: Serve, request_kind: str, end: Ending) -> None:
    running = await serve(max_connections_per_address=2)
    await frees_its_place(running, REQUESTS[request_kind], end, tls=False)


async def test_violation_frees_one_place(serve: Serve) -> None:
    running = await serve(max_connections_per_address=2)
    await frees_its_place(running, REQUESTS["websocket"], breaks_the_protocol, tls=False)


@pytest.mark.parametrize("request_kind", REQUESTS)
async def test_end_over_tls_frees_one_place(
    aiohttp_server: Callable[..., Awaitable[TestServer]], request_kind: str
) -> None:
    """A TLS transport has forgotten the address of the peer by then."""
    app = create_app(alone(max_connections_per_address=2))
    server = await aiohttp_server(app, ssl=server_tls())
    running = RunningApp(app, server.port or 0)
    await frees_its_place(running, REQUESTS[request_kind], hangs_up, tls=True)


async def test_client_that_leaves_in_between_is_not_counted(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has disconnected while its recent notifications were read."""
    running = await serve(max_connections_per_address=1)
    asked, release = asyncio.Event(), asyncio.Event()

    async def refresh(name: str) -> None:
        asked.set()
        await release.wait()

    monkeypatch.setattr(running.app[BROKER], "refresh", refresh)
    _, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(handshake())
    await asked.wait()
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    release.set()
    async with connected(running.port):
        assert await status_of(running.port) == 429


async def test_clients_at_once_do_not_pass_the_limit(serve: Serve) -> None:
    """Between the check and the count there is no turn of the event loop."""
    running = await serve(max_connections_per_address=3)
    answers = await asyncio.gather(*(ask(running.port, handshake()) for _ in range(20)))
    assert sorted(status for status, _ in answers) == [101] * 3 + [429] * 17
    for _, (_, writer) in answers:
        writer.close()


async def test_mounted_application_over_a_unix_socket_counts_one_address(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Its clients have no address."""
    path = str(tmp_path_factory.mktemp("s") / "s")
    runner = web.AppRunner(create_app(alone(max_connections_per_address=1)))
    await runner.setup()
    await web.UnixSite(runner, path).start()
    statuses = []
    writers = []
    for _ in range(2):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(handshake())
        statuses.append((await asyncio.wait_for(reader.readline(), 5)).split()[1])
        writers.append(writer)
    assert statuses == [b"101", b"429"]
    for writer in writers:
        writer.transport.abort()
    await runner.cleanup()
