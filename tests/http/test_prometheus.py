"""`GET /metrics`: the figures after real connections, notifications and outages."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from aionotify.app import create_app
from aionotify.net import Address
from tests.support import MemcachedProcess, alone, eventually, exchange

Serve = Callable[[web.Application], Awaitable[TestServer]]
Figures = dict[str, float]

COUNTERS = {"published", "delivered", "gaps", "cut_off", "closes", "refused", "cache_errors"}
GAUGES = {
    *("build_info", "connections", "connection_limit", "lagging", "topics", "cache_connected"),
}
HISTOGRAMS = {"fanout_seconds", "cache_write_seconds", "event_loop_lag_seconds"}


async def page(port: int, *headers: bytes) -> str:
    """Return the text of `/metrics`."""
    answer = await exchange(port, b"GET /metrics HTTP/1.1", *headers)
    assert answer.status == b"HTTP/1.1 200 OK", answer
    return answer.body.decode()


async def figures(port: int) -> Figures:
    """Return every sample, by `name{label}`."""
    found: Figures = {}
    for family in text_string_to_metric_families(await page(port)):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def serve(aiohttp_server: Serve, app: web.Application) -> int:
    """Serve `app`, and return its port."""
    port = (await aiohttp_server(app)).port
    assert port is not None
    return port


async def post(port: int, message: bytes, *headers: bytes) -> bytes:
    """Publish `message`, and return the status line."""
    length = b"Content-Length: %d" % len(message)
    request = (b"POST /notifications HTTP/1.1", length, *headers)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (*request, b"Host: 127.0.0.1", b"Connection: close", b"", message)
    writer.write(b"\r\n".join(lines))
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n")[0]


async def test_names_and_types_follow_conventions(aiohttp_server: Serve) -> None:
    port = await serve(aiohttp_server, create_app(alone()))
    kinds = {each.name: each.type for each in text_string_to_metric_families(await page(port))}
    ours = {name.removeprefix("aionotify_"): kind for name, kind in kinds.items()}
    process = {name for name in ours if name.startswith("process_")}
    expected = dict.fromkeys(COUNTERS, "counter") | dict.fromkeys(GAUGES, "gauge")
    expected |= dict.fromkeys(HISTOGRAMS, "histogram")
    assert {name: kind for name, kind in ours.items() if name not in process} == expected
    assert {"process_resident_memory_bytes", "process_cpu_seconds"} <= process
    for name in kinds:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)


async def test_every_metric_has_help(aiohttp_server: Serve) -> None:
    port = await serve(aiohttp_server, create_app(alone()))
    lines = (await page(port)).splitlines()
    samples = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    assert len(samples) == len(set(samples))
    for name in re.findall(r"^# TYPE (\S+) ", "\n".join(lines), re.MULTILINE):
        assert re.search(rf"^# HELP {name} \S.*\.$", "\n".join(lines), re.MULTILINE)


async def test_labels_exist_from_the_start(aiohttp_server: Serve) -> None:
    port = await serve(aiohttp_server, create_app(alone()))
    found = await figures(port)
    for reason in ("stalled", "silent", "too_slow", "closing", "broken"):
        assert found[f"aionotify_cut_off_total{{reason={reason}}}"] == 0
    for reason in ("token", "origin", "host", "too_many", "too_many_per_address", "stopping"):
        assert found[f"aionotify_refused_total{{reason={reason}}}"] == 0
    for kind in ("websocket_text", "websocket_json", "events"):
        assert found[f"aionotify_connections{{kind={kind}}}"] == 0


async def test_applications_share_no_metrics(aiohttp_server: Serve) -> None:
    first = await serve(aiohttp_server, create_app(alone()))
    second = await serve(aiohttp_server, create_app(alone()))
    assert await post(first, b"Hello") == b"HTTP/1.1 201 Created"
    assert (await figures(first))["aionotify_published_total"] == 1
    assert (await figures(second))["aionotify_published_total"] == 0


async def test_format_is_negotiated(aiohttp_server: Serve) -> None:
    port = await serve(aiohttp_server, create_app(alone()))
    answer = await exchange(port, b"GET /metrics HTTP/1.1")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in answer.headers
    openmetrics = b"Accept: application/openmetrics-text; version=1.0.0"
    assert (await page(port, openmetrics)).endswith("# EOF\n")


@pytest.mark.parametrize(
    "accept",
    [
        *(b"text/plain;version=latest", b"application/openmetrics-text;version=x", b"*/*", b"\xff"),
        *(b"text/plain;version=", b"text/plain;version=\xff", b"text/plain;version=" + b"9" * 5000),
        *(
            b"application/openmetrics-text;version=2.\xff",
            b"application/openmetrics-text;version=1.a",
        ),
    ],
)
async def test_any_accept_gets_metrics(aiohttp_server: Serve, accept: bytes) -> None:
    port = await serve(aiohttp_server, create_app(alone()))
    assert "aionotify_topics 0.0\n" in await page(port, b"Accept: " + accept)


async def test_metrics_need_user_token(aiohttp_server: Serve) -> None:
    token = "a-token-of-a-subscriber"
    app = create_app(alone(user_tokens=(token,)))
    port = await serve(aiohttp_server, app)
    refused = await exchange(port, b"GET /metrics HTTP/1.1")
    assert refused.status == b"HTTP/1.1 401 Unauthorized"
    text = await page(port, b"Authorization: Bearer " + token.encode())
    assert 'aionotify_refused_total{reason="token"} 1.0' in text


async def test_rejections_are_counted_by_reason(aiohttp_server: Serve) -> None:
    port = await serve(aiohttp_server, create_app(alone(max_connections=1)))
    await exchange(port, b"GET / HTTP/1.1", b"Origin: https://elsewhere.example")
    request = b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    assert b" 403 " in await reader.read()
    writer.close()
    url = f"ws://127.0.0.1:{port}/ws"
    async with connect(url):
        with pytest.raises(InvalidStatus):
            await connect(url)
        found = await figures(port)
    for reason, times in (("origin", 1), ("host", 1), ("too_many", 1), ("token", 0)):
        assert found[f"aionotify_refused_total{{reason={reason}}}"] == times


async def test_metrics_follow_clients_and_outage(
    aiohttp_server: Serve, memcached: MemcachedProcess
) -> None:
    """Clients connect and publish, memcached crashes and returns: every figure follows."""
    address = Address("127.0.0.1", memcached.port)
    port = await serve(aiohttp_server, create_app(alone(memcached_hosts=(address,))))
    before = await figures(port)
    assert before["aionotify_cache_connected"] == 1
    assert before["aionotify_topics"] == 1
    url = f"ws://127.0.0.1:{port}/ws"
    async with connect(url) as text, connect(f"{url}?format=json&topic=other") as of_json:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"event: subscribed")
        for number in range(10):
            assert await post(port, b"%d" % number) == b"HTTP/1.1 201 Created"
        await of_json.send('{"message":"refused"}')
        await of_json.recv()
        for _ in range(10):
            await text.recv()
        found = await figures(port)
        for kind in ("websocket_text", "websocket_json", "events"):
            assert found[f"aionotify_connections{{kind={kind}}}"] == 1
        assert found["aionotify_topics"] == 2
        assert found["aionotify_published_total"] == 10
        assert found["aionotify_delivered_total"] == 20
        assert 1 <= found["aionotify_fanout_seconds_count"] <= 10
        assert 0 < found["aionotify_fanout_seconds_sum"] < 10
        assert found["aionotify_cache_write_seconds_count"] >= 1
        assert found["aionotify_lagging"] == 0
        memcached.kill()
        await eventually(lambda: is_figure(port, "aionotify_cache_connected", 0))
        assert (await figures(port))["aionotify_cache_errors_total"] == 1
        memcached.start()
        await eventually(lambda: is_figure(port, "aionotify_cache_connected", 1))
        assert (await figures(port))["aionotify_cache_errors_total"] == 1
        writer.close()
    await eventually(lambda: is_figure(port, "aionotify_connections{kind=events}", 0))
    await eventually(lambda: is_figure(port, "aionotify_connections{kind=websocket_json}", 0))
    assert (await figures(port))["aionotify_event_loop_lag_seconds_count"] > 0


async def test_stalled_client_is_counted(aiohttp_server: Serve) -> None:
    """It lags and is disconnected. Its `since` is too old, which counts as a gap."""
    settings = alone(stall_timeout=0.5, history_limit=1000, max_message_bytes=1 << 20)
    port = await serve(aiohttp_server, create_app(settings))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writer.write(b"GET /events?since=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await reader.readuntil(b"event: gap\n")
    assert (await figures(port))["aionotify_gaps_total"] == 1
    writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def lags() -> bool:
        await post(port, b"x" * 1_000_000)
        return (await figures(port))["aionotify_lagging"] == 1

    await eventually(lags, 8)
    stalled = "aionotify_cut_off_total{reason=stalled}"
    await eventually(lambda: is_figure(port, stalled, 1), 8)
    assert (await figures(port))["aionotify_lagging"] == 0
    writer.transport.abort()


async def test_too_slow_client_is_counted(aiohttp_server: Serve) -> None:
    """A plain-text client is closed instead of being told about a gap, so no gap is counted."""
    port = await serve(aiohttp_server, create_app(alone(history_limit=2, recent_limit=2)))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def outrun() -> bool:
        before = await figures(port)
        for _ in range(4):
            await post(port, b"x" * 60_000)
        delivered = "aionotify_delivered_total"
        return (await figures(port))[delivered] == before[delivered]

    await eventually(outrun, 8)
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    reading = asyncio.create_task(drain(reader))
    await eventually(lambda: is_figure(port, "aionotify_cut_off_total{reason=too_slow}", 1))
    assert (await figures(port))["aionotify_gaps_total"] == 0
    writer.transport.abort()
    await asyncio.wait([reading])


async def test_silent_client_is_counted(aiohttp_server: Serve) -> None:
    """It does not answer pings."""
    port = await serve(aiohttp_server, create_app(alone(heartbeat=0.05)))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE)
    await eventually(lambda: is_figure(port, "aionotify_cut_off_total{reason=silent}", 1), 8)
    await reader.read()
    writer.close()


async def drain(reader: asyncio.StreamReader) -> None:
    """Read until the connection ends or is reset."""
    with contextlib.suppress(ConnectionResetError):
        while await reader.read(65536):
            pass


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def is_figure(port: int, name: str, value: float) -> bool:
    """Return whether a sample has this value at the moment."""
    return (await figures(port))[name] == value
