"""`GET /events`: server-sent events, byte for byte."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aionotify.keys import HUB
from aionotify.notification import Notification
from tests.support import eventually, exchange
from tests.support.app import RunningApp, Serve
from tests.support.stream import Body

pytestmark = pytest.mark.both_loops

HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Cache-Control: no-store, no-transform\r\n"
    b"Content-Encoding: identity\r\n"
    b"X-Accel-Buffering: no\r\n"
    b"Connection: close\r\n"
)
ENDS = {b"1.0": b"\r\n", b"1.1": b"Transfer-Encoding: chunked\r\n\r\n"}
"""The end of the head, by the version of the request."""

RECENT = ',"recent":true'


@asynccontextmanager
async def listen(
    running: RunningApp, query: bytes = b"", *headers: bytes, version: bytes = b"1.1"
) -> AsyncIterator[Body]:
    """Open a stream, and check its head and its first line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    lines = (b"GET /events%b HTTP/%b" % (query, version), b"Host: localhost", *headers)
    writer.write(b"\r\n".join((*lines, b"", b"")))
    try:
        wanted = HEAD + ENDS[version]
        assert await asyncio.wait_for(reader.readexactly(len(wanted)), 5) == wanted
        body = Body(reader, chunked=version == b"1.1")
        # The first line of the first event, and no event by itself.
        retry = await body.readexactly(len(b"retry: 2000\n"))
        assert re.fullmatch(rb"retry: [12]\d\d\d\n", retry)
        yield body
    finally:
        writer.close()


def event(notification: Notification, more: str = "") -> bytes:
    """Return the event as it must look."""
    seconds, milliseconds = divmod(notification.time, 1000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03}Z"
    message = json.dumps(notification.message, ensure_ascii=False)
    return (
        f'id: {notification.id}\ndata: {{"type":"notification","id":"{notification.id}",'
        f'"time":"{stamp}","topic":"{notification.topic}","message":{message}{more}}}\n\n'
    ).encode()


def gap(id: int) -> bytes:
    """Return the event for a gap of unknown size that ends at position `id`."""
    return (f'event: gap\nid: {id}\ndata: {{"type":"gap","missed":null,"id":"{id}"}}\n\n').encode()


async def seen(reader: Body, wanted: bytes) -> None:
    """Assert that exactly `wanted` arrives next."""
    assert await reader.readexactly(len(wanted)) == wanted


async def caught_up(reader: Body, id: int | None = None, topic: str = "main") -> int:
    """Assert that the next event states the position `id`, of any value if None; return it."""
    event = (await reader.readuntil(b"\n\n")).decode()
    found = re.fullmatch(
        r"event: subscribed\nid: (\d{16})\n"
        rf'data: {{"type":"subscribed","topics":\["{topic}"\],"id":"(\d{{16}})"}}\n\n',
        event,
    )
    assert found, event
    assert found[1] == found[2]
    assert id in (None, int(found[1]))
    return int(found[1])


async def test_stream_replays_recent_then_live(running: RunningApp) -> None:
    recents = await running.publish(*"abcdefg")
    async with listen(running) as reader:
        await seen(reader, b"".join(event(each, RECENT) for each in recents[-5:]))
        await caught_up(reader, recents[-1].id)
        for live in await running.publish("é 😀", "two\nlines\r\n and \\n"):
            await seen(reader, event(live))


async def test_newlines_stay_in_one_data_line(running: RunningApp) -> None:
    async with listen(running) as reader:
        await caught_up(reader)
        await running.publish("a\nb\r\nc\rd")
        line = (await reader.readuntil(b"\n\n")).split(b"\n")[1]
        assert line.endswith(b'"message":"a\\nb\\r\\nc\\rd"}')


async def test_stream_has_one_topic(running: RunningApp) -> None:
    async with listen(running, b"?topic=b") as reader:
        await caught_up(reader, topic="b")
        await running.publish("no")
        (yes,) = await running.publish("yes", topic="b")
        await seen(reader, event(yes))


async def test_http_1_0_client_can_read(running: RunningApp) -> None:
    """nginx is one with its default settings. It gets no chunks."""
    async with listen(running, version=b"1.0") as reader:
        await caught_up(reader)
        (live,) = await running.publish("Hello")
        await seen(reader, event(live))


async def test_batch_is_one_chunk(running: RunningApp) -> None:
    """Clients that read by chunks, as `requests` does, see each notification at once."""
    async with listen(running) as reader:
        await caught_up(reader)
        (one,) = await running.publish("one")
        await seen(reader, event(one))
        both = b"".join(event(each) for each in await running.publish("two", "three"))
        await seen(reader, both)
        assert reader.chunks[-2:] == [event(one), both]


@pytest.mark.parametrize("version", ENDS)
async def test_every_block_has_data(serve: Serve, version: bytes) -> None:
    """Some libraries take a block without data, as after a heartbeat, for an empty message."""
    running = await serve(heartbeat=0.05)
    async with listen(running, version=version) as reader:
        for number in range(3):
            await running.publish(f"{number}")
            await reader.readuntil(b'"message":"%d"}\n\n' % number)
            await reader.readuntil(b":\n")
        await running.app[HUB].shutdown(2)
        await reader.read()
    *blocks, rest = b"".join(reader.chunks).split(b"\n\n")
    assert len(blocks) == 1 + 3
    for block in blocks:
        assert re.search(rb"^data: {", block, re.MULTILINE), block
    assert set(rest.splitlines()) <= {b":"}


@pytest.mark.parametrize("where", ["query", "header", "header before query"])
async def test_resume_returns_everything_after(running: RunningApp, where: str) -> None:
    published = await running.publish(*map(str, range(50)))
    last = b"%d" % published[19].id
    query, header = b"?since=" + last, b"Last-Event-ID: " + last
    asked: dict[str, tuple[bytes, ...]] = {
        "query": (query,),
        "header": (b"", header),
        "header before query": (b"?since=1", header),
    }
    async with listen(running, *asked[where]) as reader:
        await seen(reader, b"".join(event(each, RECENT) for each in published[20:]))
        await caught_up(reader, published[-1].id)
        (live,) = await running.publish("live")
        await seen(reader, event(live))


@pytest.mark.parametrize("id", [b"1", b"9007199254740991", b"none of ours", b"\xc3\xa9"])
async def test_unknown_id_gets_gap_first(running: RunningApp, id: bytes) -> None:
    """With the position from which everything is retained."""
    async with listen(running) as reader:
        start = await caught_up(reader)
    published = await running.publish("a", "b")
    async with listen(running, b"", b"Last-Event-ID: " + id) as reader:
        later = [] if id.startswith(b"900") else published
        await seen(reader, gap(start) + b"".join(event(each, RECENT) for each in later))
        await caught_up(reader, published[-1].id)
        (live,) = await running.publish("live")
        await seen(reader, event(live))


async def test_empty_last_event_id_is_ignored(running: RunningApp) -> None:
    """Some polyfills send it before they have seen an event."""
    recents = await running.publish("a")
    async with listen(running, b"", b"Last-Event-ID:") as reader:
        await seen(reader, event(recents[0], RECENT))
        await caught_up(reader, recents[0].id)


@pytest.mark.parametrize("query", [b"?topic=a%20b", b"?since=x"])
async def test_invalid_parameters_are_400(running: RunningApp, query: bytes) -> None:
    answer = await exchange(running.port, b"GET /events%b HTTP/1.1" % query)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert b": invalid value '" in answer.body
    assert b"' (expected " in answer.body


async def test_head_opens_no_stream(running: RunningApp) -> None:
    answer = await exchange(running.port, b"HEAD /events HTTP/1.1")
    assert answer.status == b"HTTP/1.1 200 OK"
    assert b"Content-Type: text/event-stream" in answer.headers
    assert running.app[HUB].connected == 0


async def test_stream_counts_as_connection(serve: Serve) -> None:
    """It counts towards the limit, but not as a WebSocket."""
    running = await serve(max_connections=1)
    async with listen(running):
        body = (await exchange(running.port, b"GET /health HTTP/1.1")).body
        assert b'"connected_websockets":0}' in body
        assert (await exchange(running.port, b"GET /events HTTP/1.1")).status == (
            b"HTTP/1.1 503 Service Unavailable"
        )
    await eventually(lambda: running.app[HUB].connected == 0)


async def test_heartbeat_sends_comments(serve: Serve) -> None:
    running = await serve(heartbeat=1)
    async with listen(running) as reader:
        await caught_up(reader)
        await seen(reader, b":\n")
        await seen(reader, b":\n")


async def test_input_after_request_is_ignored(running: RunningApp) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"event: subscribed")
    await reader.readuntil(b"\n\n")
    writer.write(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100_000)
    (live,) = await running.publish("Hello")
    assert await asyncio.wait_for(reader.readuntil(b"\n\n"), 5) == event(live)
    writer.close()


async def test_shutdown_ends_stream(running: RunningApp) -> None:
    async with listen(running) as reader:
        await caught_up(reader)
        await running.app[HUB].shutdown(2)
        assert await reader.read() == b""
        assert reader.complete


async def test_curl_shows_events_at_once(running: RunningApp) -> None:
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sN", f"http://127.0.0.1:{running.port}/events"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        body = Body(process.stdout, chunked=False)
        assert (await body.readuntil(b"\n")).startswith(b"retry: ")
        await caught_up(body)
        (live,) = await running.publish("Hello")
        await seen(body, event(live))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
