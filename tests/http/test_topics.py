"""Several topics on one connection, over each interface that has them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from aionotify.keys import HUB
from tests.support import eventually, exchange
from tests.support.app import RunningApp, Serve

pytestmark = pytest.mark.both_loops

Events = AsyncIterator[dict[str, Any]]
Subscribe = Callable[[RunningApp, str], AbstractAsyncContextManager[Events]]


@asynccontextmanager
async def over_websocket(running: RunningApp, query: str) -> AsyncIterator[Events]:
    """Subscribe over WebSocket."""

    async def events(client: Any) -> Events:
        while True:
            yield json.loads(await client.recv())

    async with asyncio.timeout(5), running.client(f"?format=json&{query}") as client:
        yield events(client)


@asynccontextmanager
async def over_events(running: RunningApp, query: str) -> AsyncIterator[Events]:
    """Subscribe over server-sent events, of HTTP/1.0: a bare stream."""

    async def events(reader: asyncio.StreamReader) -> Events:
        while block := (await reader.readuntil(b"\n\n")).decode():
            yield json.loads(block.partition("data: ")[2])

    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(f"GET /events?{query} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        try:
            yield events(reader)
        finally:
            writer.close()


each_way = pytest.mark.parametrize("subscribe", [over_websocket, over_events])


async def until_caught_up(events: Events) -> tuple[list[str], dict[str, Any]]:
    """Return the messages and gaps up to the client's position, and the object with that."""
    found: list[str] = []
    async for event in events:
        if event["type"] == "subscribed":
            return found, event
        found.append(event.get("message", "gap"))
    raise AssertionError("the stream ended")


async def message(events: Events) -> str:
    """Return the next message, with its topic."""
    event = await anext(events)
    return f"{event['topic']}: {event['message']}"


async def poll(running: RunningApp, query: str) -> Any:
    """Return the answer to a poll."""
    answer = await exchange(running.port, f"GET /notifications?{query} HTTP/1.1".encode())
    assert answer.status == b"HTTP/1.1 200 OK"
    return json.loads(answer.body)


@each_way
async def test_topics_are_one_stream(running: RunningApp, subscribe: Subscribe) -> None:
    """The newest of each topic in the order of publishing, and then what is published."""
    for number in range(8):
        await running.publish(f"a{number}", topic="a")
    await running.publish("b0", topic="b")
    await running.publish("a8", topic="a")
    await running.publish("c0", topic="c")
    async with subscribe(running, "topic=b,a,b") as events:
        recents, position = await until_caught_up(events)
        assert recents == ["a4", "a5", "a6", "a7", "b0", "a8"]
        assert position["topics"] == ["b", "a"]
        await running.publish("c1", topic="c")
        await running.publish("a9", topic="a")
        await running.publish("b1", topic="b")
        assert [await message(events), await message(events)] == ["a: a9", "b: b1"]


@each_way
async def test_one_id_resumes_all_topics(running: RunningApp, subscribe: Subscribe) -> None:
    """Also the id of a client that has seen nothing, and that of the other topic."""
    async with subscribe(running, "topic=a,b") as events:
        _, position = await until_caught_up(events)
    (first,) = await running.publish("a0", topic="a")
    await running.publish("b0", topic="b")
    await running.publish("a1", topic="a")
    for since, wanted in ((position["id"], ["a0", "b0", "a1"]), (first.id, ["b0", "a1"])):
        async with subscribe(running, f"topic=a,b&since={since}") as events:
            found, _ = await until_caught_up(events)
            assert found == wanted
        answer = await poll(running, f"topic=a,b&since={since}")
        assert [each["message"] for each in answer["notifications"]] == wanted
        assert answer["complete"] is True


@each_way
async def test_lost_in_one_topic_is_a_gap(serve: Serve, subscribe: Subscribe) -> None:
    """What the other topic has retained still comes."""
    running = await serve(history_limit=5)
    async with subscribe(running, "topic=a,b") as events:
        _, position = await until_caught_up(events)
    await running.publish("b0", topic="b")
    for number in range(7):
        await running.publish(f"a{number}", topic="a")
    query = f"topic=a,b&since={position['id']}"
    async with subscribe(running, query) as events:
        found, _ = await until_caught_up(events)
        assert found == ["b0", "gap", "a2", "a3", "a4", "a5", "a6"]
    answer = await poll(running, query)
    assert answer["complete"] is False
    assert [each["message"] for each in answer["notifications"]] == ["b0", *found[2:]]


async def test_poll_pages_over_all_topics(
    running: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page continues where the one before ended, and nothing comes twice."""
    monkeypatch.setattr("aionotify.notifier.MAX_PAGE", 4)
    start = (await poll(running, "topic=a,b"))["id"]
    for number in range(5):
        await running.publish(f"{number}", topic="ab"[number % 2])
        await running.publish(f"{number}x", topic="a")
    found, answer = list[str](), {"id": start, "more": True}
    while answer.get("more"):
        answer = await poll(running, f"topic=b,a&since={answer['id']}")
        assert answer["complete"]
        found += [each["message"] for each in answer["notifications"]]
    assert found == [f"{number}{end}" for number in range(5) for end in ("", "x")]
    assert answer == await poll(running, f"topic=a,b&since={answer['id']}") | {
        "notifications": answer["notifications"]
    }


async def test_frame_names_one_of_the_topics(running: RunningApp) -> None:
    """A client of several topics has to say which, and cannot publish elsewhere."""
    expected = "expected a topic to which this connection subscribes"
    async with (
        asyncio.timeout(5),
        running.client("?format=json&client=admin&topic=a,b") as several,
        running.client("?format=json&client=admin&topic=a") as one,
    ):
        for client, frame, reply in (
            (several, {"message": "1", "topic": "b"}, "accepted"),
            (one, {"message": "2", "topic": "a"}, "accepted"),
            (several, {"message": "3"}, f"topic: missing ({expected}: a, b)"),
            (
                several,
                {"message": "3", "topic": "c"},
                f"topic: invalid value 'c' ({expected}: a, b)",
            ),
            (one, {"message": "3", "topic": "b"}, f"topic: invalid value 'b' ({expected}: a)"),
        ):
            await client.send(json.dumps(frame))
            answer = {"type": "notification"}
            while answer["type"] not in ("accepted", "error"):
                answer = json.loads(await client.recv())
            assert answer.get("detail", answer["type"]) == reply
    assert [each["message"] for each in (await poll(running, "topic=a,b"))["notifications"]] == [
        "1",
        "2",
    ]


@each_way
async def test_client_leaves_all_topics(running: RunningApp, subscribe: Subscribe) -> None:
    """It counts as one client, and empty topics go with it."""
    async with subscribe(running, "topic=a,b,c") as events:
        await until_caught_up(events)
        assert running.app[HUB].connected == 1
        assert running.app[HUB].topics == 3
    await eventually(lambda: running.app[HUB].topics == 0)
    assert running.app[HUB].connected == 0


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("/ws?topic=a,b", "Several topics require format=json: text does not name the topic."),
        ("/messages?topic=a,b", "topic: invalid value 'a,b' (expected 1 to 64 letters"),
        ("/events?topic=a,", "topic: invalid value '' (expected 1 to 64 letters"),
        (
            "/notifications?topic=" + ",".join(map(str, range(51))),
            "topic: 51 topics (expected at most 50)",
        ),
    ],
)
async def test_invalid_topics_are_400(running: RunningApp, target: str, sentence: str) -> None:
    answer = await exchange(
        running.port,
        b"GET %b HTTP/1.1" % target.encode(),
        *(b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"),
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert json.loads(answer.body)["detail"].startswith(sentence)
