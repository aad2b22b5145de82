"""Resuming over WebSocket, server-sent events and polls: a position is exact, a gap told once."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

import aionotify.broker.local
import aionotify.hub
from aionotify.keys import HUB
from tests.support import eventually, exchange
from tests.support.app import RunningApp, Serve
from tests.support.builders import Clock


class Resumed(NamedTuple):
    """The answer to a client that joins or resumes, up to its position."""

    messages: list[str]
    gap: bool
    position: int


async def over_websocket(running: RunningApp, since: int | None) -> Resumed:
    """Join over WebSocket, and leave when the position is known."""
    query = "" if since is None else f"&since={since}"
    documents: list[dict[str, str]] = []
    async with running.client(f"?format=json{query}") as client, asyncio.timeout(5):
        while not documents or documents[-1]["type"] != "subscribed":
            documents.append(json.loads(await client.recv()))
    return resumed(documents)


async def over_events(running: RunningApp, since: int | None) -> Resumed:
    """Join over server-sent events; take the position from `id:`, as an EventSource does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    header = "" if since is None else f"Last-Event-ID: {since}\r\n"
    writer.write(f"GET /events HTTP/1.0\r\nHost: 127.0.0.1\r\n{header}\r\n".encode())
    documents: list[dict[str, str]] = []
    async with asyncio.timeout(5):
        await reader.readuntil(b"\r\n\r\n")
        while not documents or documents[-1]["type"] != "subscribed":
            lines = (await reader.readuntil(b"\n\n")).decode().splitlines()
            fields = dict(line.partition(": ")[::2] for line in lines)
            if "data" in fields:
                documents.append(json.loads(fields["data"]))
                assert documents[-1]["id"] == fields["id"]
                assert fields.get("event", "notification") == documents[-1]["type"]
    writer.close()
    await eventually(lambda: running.app[HUB].connected == 0)
    return resumed(documents)


async def over_poll(running: RunningApp, since: int | None) -> Resumed:
    """Poll."""
    query = b"" if since is None else b"?since=%d" % since
    answer = await exchange(running.port, b"GET /notifications%b HTTP/1.1" % query)
    document = json.loads(answer.body)
    messages = [each["message"] for each in document["notifications"]]
    return Resumed(messages, not document["complete"], int(document["id"]))


def resumed(documents: list[dict[str, str]]) -> Resumed:
    """Return what a client has learned from these objects, of which the last has its position."""
    kinds = [each["type"] for each in documents]
    assert "gap" not in kinds[1:], "a gap comes first"
    messages = [each["message"] for each in documents if each["type"] == "notification"]
    return Resumed(messages, kinds[0] == "gap", int(documents[-1]["id"]))


Way = Callable[[RunningApp, int | None], Awaitable[Resumed]]

every_way = pytest.mark.parametrize("resume", [over_websocket, over_events, over_poll])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of day for what is published and what expires; set forward by hand."""
    clock = Clock(time.monotonic)
    for module in (aionotify.broker.local, aionotify.hub):
        monkeypatch.setattr(module, "time", clock)
    return clock


@every_way
async def test_client_that_saw_nothing_misses_nothing(running: RunningApp, resume: Way) -> None:
    """Even if nothing was ever published, it has a position."""
    joined = await resume(running, None)
    assert (joined.messages, joined.gap) == ([], False)
    published = await running.publish(*map(str, range(8)))
    assert await resume(running, joined.position) == Resumed(
        list("01234567"), False, published[-1].id
    )


@every_way
async def test_quiet_topic_reports_no_gap(clock: Clock, running: RunningApp, resume: Way) -> None:
    """Its last notification expires, and the topic itself is forgotten: nothing was missed."""
    (x,) = await running.publish("x")
    assert await resume(running, None) == Resumed(["x"], False, x.id)
    for _ in range(3):
        clock.now += 7200
        await running.app[HUB].expire()
        assert running.app[HUB].topics == 0
        assert await resume(running, x.id) == Resumed([], False, x.id)
    (y,) = await running.publish("y")
    assert await resume(running, x.id) == Resumed(["y"], False, y.id)


@every_way
async def test_other_topics_move_no_position(running: RunningApp, resume: Way) -> None:
    joined = await resume(running, None)
    await running.publish("a", "b", topic="other")
    assert await resume(running, joined.position) == joined
    assert await resume(running, None) == joined


@every_way
async def test_expired_meanwhile_is_gap_told_once(
    clock: Clock, running: RunningApp, resume: Way
) -> None:
    x, y = await running.publish("x", "y")
    clock.now += 7200
    await running.app[HUB].expire()
    assert await resume(running, x.id) == Resumed([], True, y.id)
    assert await resume(running, y.id) == Resumed([], False, y.id)


@every_way
async def test_gap_gives_position_to_resume_from(serve: Serve, resume: Way) -> None:
    running = await serve(history_limit=5)
    published = await running.publish(*map(str, range(8)))
    assert await resume(running, published[0].id) == Resumed(list("34567"), True, published[-1].id)
    async with running.client(f"?format=json&since={published[0].id}") as client:
        gap = json.loads(await client.recv())
    assert gap == {"type": "gap", "missed": None, "id": f"{published[2].id}"}
    assert await resume(running, int(gap["id"])) == Resumed(list("34567"), False, published[-1].id)


@every_way
async def test_retained_covers_recents(serve: Serve, resume: Way) -> None:
    """A topic retains at least what a plain client is shown, whatever the history limit."""
    running = await serve(history_limit=1, recent_limit=4)
    published = await running.publish(*"abcdef")
    assert await resume(running, published[1].id) == Resumed(list("cdef"), False, published[-1].id)
    assert (await resume(running, published[0].id)).gap
