"""`GET /ws?format=json`: JSON objects in both directions, and resuming."""

import asyncio
import contextlib
import json
import re
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support import exchange
from tests.support.app import RunningApp, Serve

pytestmark = pytest.mark.both_loops

EXPECTED = 'Expected JSON like {"message":"Hello"}, with valid Unicode.'


def json_client(
    running: RunningApp, query: str = ""
) -> AbstractAsyncContextManager[ClientConnection]:
    """Connect a client of the JSON format."""
    return running.client(f"?format=json{query}")


async def frame(client: ClientConnection) -> str:
    """Return the next frame."""
    return str(await asyncio.wait_for(client.recv(), 5))


async def frames(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    """Return the next `count` frames, decoded."""
    return [json.loads(await frame(client)) for _ in range(count)]


async def caught_up(client: ClientConnection, id: int | None = None, topic: str = "main") -> int:
    """Assert that the next frame states the position `id`, of any value if None; return it."""
    found = re.fullmatch(
        rf'{{"type":"subscribed","topics":\["{topic}"\],"id":"(\d{{16}})"}}', await frame(client)
    )
    assert found
    assert id in (None, int(found[1]))
    return int(found[1])


async def test_recent_and_live_are_objects(running: RunningApp) -> None:
    recents = await running.publish(*"abcdef")
    async with json_client(running) as client:
        shown = await frames(client, 5)
        await caught_up(client, recents[-1].id)
        assert [each["message"] for each in shown] == list("bcdef")
        assert all(each["recent"] is True for each in shown)
        (live,) = await running.publish("é")
        text = await frame(client)
        assert text.startswith(f'{{"type":"notification","id":"{live.id}","time":"20')
        assert text.endswith('Z","topic":"main","message":"é"}')


async def test_publisher_gets_accepted(running: RunningApp) -> None:
    async with json_client(running, "&client=admin") as admin, json_client(running) as other:
        assert await caught_up(admin) == await caught_up(other)
        await admin.send('{"message":" admin:Hello "}')
        both = await frames(admin, 2)
        (heard,) = await frames(other, 1)
        assert {"type": "accepted", "id": heard["id"]} in both
        assert heard in both
        assert heard["message"] == "admin:Hello"


async def test_user_publishes_with_prefix_only(running: RunningApp) -> None:
    async with json_client(running) as user:
        await caught_up(user)
        await user.send('{"message":"admin:Hello"}')
        first, second = await frames(user, 2)
        assert (first["message"], second["type"]) == ("Hello", "accepted")
        await user.send('{"message":"Hello"}')
        assert await frame(user) == (
            '{"type":"error","detail":"You are not authorized to send notifications."}'
        )


@pytest.mark.parametrize(
    "text",
    [
        *("", "Hello", "[]", "{}", "null", '{"message":1}', '{"message":null}', '{"message":{}}'),
        *('{"message":"\\ud800"}', "[" * 60_000, '{"message":"x"'),
    ],
)
async def test_invalid_object_gets_error(running: RunningApp, text: str) -> None:
    async with json_client(running, "&client=admin") as admin:
        await caught_up(admin)
        await admin.send(text)
        assert await frames(admin, 1) == [{"type": "error", "detail": EXPECTED}]
        await admin.send('{"message":"goes on"}')
        assert (await frames(admin, 2))[0]["message"] == "goes on"


async def test_empty_message_gets_error(running: RunningApp) -> None:
    async with json_client(running, "&client=admin") as admin:
        await caught_up(admin)
        await admin.send('{"message":" "}')
        assert await frame(admin) == (
            '{"type":"error","detail":"Empty notifications are not sent."}'
        )


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"binary", 1003),
        ('{"message":"%s"}' % ("x" * 101), 1009),
        ('{"message":"%s"}' % ("x" * 10_000), 1009),
    ],
)
async def test_violations_close_connection(serve: Serve, sent: str | bytes, code: int) -> None:
    running = await serve(max_message_bytes=100)
    async with json_client(running, "&client=admin") as admin:
        await caught_up(admin)
        await admin.send(sent)
        with contextlib.suppress(ConnectionClosed):
            await asyncio.wait_for(admin.recv(), 5)
        assert admin.close_code == code


async def test_topics_are_separate(running: RunningApp) -> None:
    async with (
        json_client(running, "&topic=a&client=admin") as a,
        json_client(running, "&topic=b") as b,
        running.client("?topic=b&client=admin") as text,
    ):
        await caught_up(a, topic="a")
        await caught_up(b, topic="b")
        await a.send('{"message":"for a"}')
        assert (await frames(a, 2))[0]["topic"] == "a"
        await text.send("for b")
        assert await frame(text) == "[Notification] for b"
        (heard,) = await frames(b, 1)
        assert (heard["topic"], heard["message"]) == ("b", "for b")


async def test_resume_replays_then_live(running: RunningApp) -> None:
    published = await running.publish(*(f"{number}" for number in range(200)))
    async with json_client(running, f"&since={published[49].id}") as client:
        shown = await frames(client, 150)
        assert [each["message"] for each in shown] == [f"{number}" for number in range(50, 200)]
        assert all(each["recent"] for each in shown)
        await caught_up(client, published[-1].id)
        await running.publish("live")
        (live,) = await frames(client, 1)
        assert live["message"] == "live"
        assert "recent" not in live


async def test_long_replay_is_complete(running: RunningApp) -> None:
    """It takes several writes; notifications from before the client joined are marked recent."""
    published = await running.publish(*(f"{number} " + "x" * 10_000 for number in range(500)))
    async with json_client(running, f"&since={published[0].id}") as client:
        await running.publish(*(f"{number} live" for number in range(500, 600)))
        shown = await frames(client, 499)
        await caught_up(client, published[-1].id)
        shown += await frames(client, 100)
    numbers = [int(each["message"].partition(" ")[0]) for each in shown]
    assert numbers == list(range(1, 600))
    assert all(("recent" in each) == (number < 500) for number, each in enumerate(shown, 1))


@pytest.mark.parametrize("since", ["1", "9007199254740991"])
async def test_unknown_id_gets_gap_first(running: RunningApp, since: str) -> None:
    """With the position from which everything is retained."""
    async with json_client(running) as early:
        start = await caught_up(early)
    (a,) = await running.publish("a")
    async with json_client(running, f"&since={since}") as client:
        assert await frame(client) == f'{{"type":"gap","missed":null,"id":"{start}"}}'
        if since == "1":
            assert (await frames(client, 1))[0]["message"] == "a"
        await caught_up(client, a.id)


async def test_oldest_resumable_id_has_no_gap(serve: Serve) -> None:
    running = await serve(history_limit=2, recent_limit=2)
    published = await running.publish(*"abcd")
    async with json_client(running, f"&since={published[1].id}") as client:
        assert [each["message"] for each in await frames(client, 2)] == ["c", "d"]
        await caught_up(client, published[3].id)
    async with json_client(running, f"&since={published[0].id}") as client:
        first, *others = await frames(client, 3)
        assert first == {"type": "gap", "missed": None, "id": f"{published[1].id}"}
        assert [each["message"] for each in others] == ["c", "d"]
        await caught_up(client, published[3].id)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?since=1", "since requires format=json: the text format cannot report gaps."),
        ("?format=text&since=1", "since requires format=json: the text format cannot report gaps."),
        ("?format=xml", "format: invalid value 'xml' (expected text or json)"),
        ("?format=", "format: invalid value '' (expected text or json)"),
        ("?format=json&since=x", "since: invalid value 'x' (expected the id of a notification"),
        ("?topic=%2F", "topic: invalid value '/' (expected 1 to 64 letters, digits"),
    ],
)
async def test_invalid_parameters_are_400(running: RunningApp, query: str, sentence: str) -> None:
    answer = await exchange(
        running.port,
        b"GET /ws%b HTTP/1.1" % query.encode(),
        *(b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"),
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert json.loads(answer.body)["detail"].startswith(sentence)


async def test_format_text_is_layer_1_format(running: RunningApp) -> None:
    await running.publish("a")
    async with running.client("?format=text") as client:
        assert await frame(client) == "[Recent] a"
