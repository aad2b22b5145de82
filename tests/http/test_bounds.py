"""Memory and answers are bounded, and publishers never overtake clients that keep up."""

import asyncio
import json
from typing import Any

import pytest

from aionotify.keys import HUB, NOTIFIER
from aionotify.subscriber import Subscriber
from tests.support import eventually, exchange, turning_loop
from tests.support.app import RunningApp, Serve
from tests.support.raw_client import RawClient, handshake

PAGE = 1024 * 1024
"""Bytes of messages in one response at most."""

MAX_BUFFERED = 64 * 1024 + 60_000 + 1000
"""One write carries 64 KiB of messages or a single message more, and their frames."""

LARGE = "x" * 60_000

REQUESTS = {
    "text": handshake(),
    "json": handshake("/ws?format=json"),
    "events": b"GET /events HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n",
}


def numbered(count: int, text: str = LARGE) -> list[str]:
    """Return `count` messages that start with a number."""
    return [f"{number:05}{text[5:]}" for number in range(count)]


# ------------------------------------------------------------------------------ plain responses


async def poll(running: RunningApp, query: str = "") -> dict[str, Any]:
    """Return the answer to a poll."""
    answer = await exchange(running.port, f"GET /notifications{query} HTTP/1.1".encode())
    document: dict[str, Any] = json.loads(answer.body)
    assert answer.body.endswith(b',"more":true}') == ("more" in document)
    return document


async def test_poll_continues_where_more_is_retained(running: RunningApp) -> None:
    published = await running.publish(*numbered(50))
    pages = [await poll(running, f"?since={published[0].id}")]
    while "more" in pages[-1]:
        assert pages[-1]["id"] == pages[-1]["notifications"][-1]["id"]
        pages.append(await poll(running, f"?since={pages[-1]['id']}"))
    sizes = [sum(len(each["message"]) for each in page["notifications"]) for page in pages]
    assert [size // 60_000 for size in sizes] == [17, 17, 15]
    assert max(sizes) <= PAGE
    ids = [int(each["id"]) for page in pages for each in page["notifications"]]
    assert ids == [each.id for each in published[1:]]
    assert [page["complete"] for page in pages] == [True, True, True]
    assert int(pages[-1]["id"]) == published[-1].id


async def test_poll_pages_of_incomplete_history(serve: Serve) -> None:
    """Only the first page says that something is missing: nothing is between the others."""
    running = await serve(history_limit=30)
    published = await running.publish(*numbered(40))
    first = await poll(running, f"?since={published[0].id}")
    assert (first["complete"], first["more"]) == (False, True)
    second = await poll(running, f"?since={first['id']}")
    assert (second["complete"], "more" in second) == (True, False)
    ids = [int(each["id"]) for page in (first, second) for each in page["notifications"]]
    assert ids == [each.id for each in published[10:]]


async def test_poll_answers_with_one_message_at_least(serve: Serve) -> None:
    running = await serve(max_message_bytes=PAGE)
    published = await running.publish("first", *numbered(3, "x" * PAGE))
    since = published[0].id
    for each in published[1:]:
        page = await poll(running, f"?since={since}")
        assert [int(entry["id"]) for entry in page["notifications"]] == [each.id]
        assert ("more" in page) == (each is not published[-1])
        since = each.id


async def test_poll_of_control_characters_blocks_nothing(serve: Serve) -> None:
    """JSON escapes each to six bytes: 16 MiB in one response would be 96 MiB."""
    running = await serve(max_message_bytes=PAGE)
    published = await running.publish("first", *["\x01" * 1_000_000] * 16)
    async with turning_loop():
        answer = await exchange(
            running.port, b"GET /notifications?since=%d HTTP/1.1" % published[0].id
        )
    assert 6_000_000 < len(answer.body) < 6_001_000


async def test_recents_are_bounded(serve: Serve) -> None:
    """The newest are in the response, as many as fit."""
    running = await serve(recent_limit=100)
    published = await running.publish(*numbered(100))
    answer = await exchange(running.port, b"GET /messages HTTP/1.1")
    shown = json.loads(answer.body)["recent_messages"]
    assert [each[:5] for each in shown] == [f"{number:05}" for number in range(83, 100)]
    page = await poll(running)
    assert [int(each["id"]) for each in page["notifications"]] == [
        each.id for each in published[83:]
    ]
    assert (int(page["id"]), "more" in page) == (published[-1].id, False)


# ----------------------------------------------------------------------------- recents on joining


@pytest.fixture
def buffered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of the transport's buffer after every write to a subscriber."""
    sizes: list[int] = []
    write = Subscriber.write

    def recording(self: Subscriber, batch: bytes, cursor: int) -> None:
        write(self, batch, cursor)
        sizes.append(self.transport.get_write_buffer_size())

    monkeypatch.setattr(Subscriber, "write", recording)
    return sizes


@pytest.mark.parametrize("kind", REQUESTS)
async def test_recents_are_sent_in_bounded_batches(
    serve: Serve, kind: str, buffered: list[int]
) -> None:
    """100 of 60 kB: never more than one batch is buffered, and then the client is caught up."""
    running = await serve(recent_limit=100)
    published = await running.publish(*numbered(100))
    async with running.unread_client(REQUESTS[kind]) as client:
        published += await running.publish("00100 live", "00101 live")
        loop, data = asyncio.get_running_loop(), b""
        while b"00101 live" not in data[-1000:]:
            data += await asyncio.wait_for(loop.sock_recv(client, 1 << 20), 5)
    assert max(buffered) > 0
    assert max(buffered) <= MAX_BUFFERED
    label = b"] " if kind == "text" else b'"message":"'
    starts = [data.index(label + b"%05d" % number) for number in range(102)]
    assert starts == sorted(starts)
    assert all(data.count(label + b"%05d" % number) == 1 for number in range(102))
    if kind == "text":
        assert data.count(b"[Recent] ") == 100
    else:
        position = b'"subscribed","topics":["main"],"id":"%d"}' % published[99].id
        assert starts[99] < data.index(position) < starts[100]
        assert data.count(b'"type":"subscribed"') == 1
        assert data.count(b'"recent":true') == 100
        assert data.rindex(b'"recent":true') < data.index(position)


# ----------------------------------------------------------------------- publishers and readers


async def overtake(running: RunningApp, topics: list[str], messages: list[str]) -> None:
    """Publish as fast as the server allows, and check that clients that read miss nothing."""
    clients = {
        (topic, kind): await RawClient.connect(running.port, f"/ws?topic={topic}&format={kind}")
        for topic in topics
        for kind in ("text", "json")
    }
    await eventually(lambda: running.app[HUB].connected == len(clients))
    notifier = running.app[NOTIFIER]

    async def publish(topic: str) -> None:
        for each in messages:
            await notifier.publish(each, topic)

    await asyncio.wait_for(asyncio.gather(*map(publish, topics)), 5)
    last = f"{messages[-1][:5]}".encode()
    await eventually(lambda: all(last in each.received for each in clients.values()))
    for (_, kind), client in clients.items():
        assert not client.closed
        assert b'"gap"' not in client.received
        label = b"[Notification] " if kind == "text" else b'"message":"'
        assert client.received.count(label) == len(messages)
        client.abort()
    assert running.app[HUB].stats.gaps == 0
    assert not running.app[HUB].stats.disconnected


async def test_history_of_one_overtakes_no_reader(serve: Serve) -> None:
    running = await serve(history_limit=1, recent_limit=1)
    await overtake(running, ["main"], numbered(200, "x" * 100))


async def test_messages_of_half_the_budget_overtake_no_reader(serve: Serve) -> None:
    """The memory for all topics holds two of them."""
    running = await serve(history_bytes=130_000)
    await overtake(running, ["main"], numbered(50))


async def test_other_topics_overtake_no_reader(serve: Serve) -> None:
    """Publishing evicts the oldest notification of all topics, but only if it was sent."""
    running = await serve(history_bytes=130_000)
    await overtake(running, ["a", "b", "c", "d"], numbered(20))
