"""The optional fields, from `POST` and WebSocket to every format, byte for byte."""

import json

import pytest

from aionotify.net import Address
from tests.http.test_events import listen
from tests.http.test_notifications import JSON, TOO_LARGE, get, post
from tests.support import MemcachedProcess
from tests.support.app import RunningApp, Serve
from tests.support.cache_nodes import put

FULL = '"title":"Tïtle","url":"https://example.com/?a=b","tag":"a.b","data":{"b":[1,null],"a":1e2}'
SENT = (
    '"title":"Tïtle","url":"https://example.com/?a=b","tag":"a.b","data":{"b":[1,null],"a":100.0}'
)
RECENT = b',"recent":true}'


async def test_every_json_format_has_the_fields(running: RunningApp) -> None:
    """They are absent from text, for which the client of the FastAPI version has no place."""
    async with running.client("?format=json") as client, running.client() as text:
        assert json.loads(await client.recv())["type"] == "subscribed"
        published = (await post(running, f'{{{FULL}, "message" : "Hello" }}'.encode(), JSON)).body
        assert published.endswith(f',"topic":"main","message":"Hello",{SENT}}}'.encode())
        assert await client.recv(decode=False) == published
        assert await text.recv() == "[Notification] Hello"
    async with running.client("?format=json") as client, running.client() as text:
        assert await client.recv(decode=False) == published[:-1] + RECENT
        assert await text.recv() == "[Recent] Hello"
    async with listen(running) as stream:
        assert b"data: " + published[:-1] + RECENT in await stream.readuntil(b"\n\n")
    assert b'{"notifications":[%b],' % published in (await get(running)).body


async def test_websocket_publishes_fields(running: RunningApp) -> None:
    async with running.client("?format=json&client=admin") as client:
        await client.send(f'{{"message":"Hello",{FULL}}}')
        assert json.loads(await client.recv())["type"] == "subscribed"
        assert str(await client.recv()).endswith(f',"message":"Hello",{SENT}}}')
        assert json.loads(await client.recv())["type"] == "accepted"
        await client.send('{"message":"Hello","url":"javascript:alert(1)"}')
        error = json.loads(await client.recv())
        assert error["type"] == "error"
        assert error["detail"].startswith("url: invalid value 'javascript:alert(1)' (expected ")


async def test_given_null_is_sent(running: RunningApp) -> None:
    """It is a value of `data`; without the member, there is none."""
    assert (await post(running, b'{"message":"a","data":null}', JSON)).body.endswith(
        b',"message":"a","data":null}'
    )
    assert (await post(running, b'{"message":"a"}', JSON)).body.endswith(b',"message":"a"}')


@pytest.mark.parametrize(
    "member",
    [
        *(b'"url":"//host"', b'"url":"java\\tscript:alert(1)"', b'"title":null', b'"tag":"a b"'),
        *(b'"data":NaN', b'"data":[1e400]', b'"data":"\\ud800"', b'"title":"\\ud800"'),
        *(b'"data":' + b"[" * 65 + b"]" * 65, b'"data":' + b"[" * 5000 + b"]" * 5000),
        *(b'"data":' + b"9" * 5000, b'"Title":"x"'),
    ],
    ids=lambda member: member[:20].decode(),
)
async def test_invalid_field_is_400(running: RunningApp, member: bytes) -> None:
    answer = await post(running, b'{"message":"Hello",%b}' % member, JSON)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert b'{"notifications":[],' in (await get(running)).body


async def test_fields_count_as_message(serve: Serve) -> None:
    """`AIONOTIFY_MAX_MESSAGE_BYTES` limits all of a notification together."""
    running = await serve(max_message_bytes=20)
    body = '{"message":"é2345","title":"é","url":"/x","tag":"t","data":[1, "\\u0041%b"]}'.encode()
    assert (await post(running, body % b"34", JSON)).status == b"HTTP/1.1 201 Created"
    answer = await post(running, body % b"345", JSON)
    assert answer.status == TOO_LARGE
    assert answer.body == (
        b'{"detail":"The message and its fields have 21 bytes; the limit is 20."}'
    )


async def test_fields_survive_in_memcached(serve: Serve, memcached: MemcachedProcess) -> None:
    """Also where a server of an earlier version has stored the notification without them."""
    address = Address("127.0.0.1", memcached.port)
    first = await serve(memcached_hosts=(address,))
    published = (await post(first, f'{{"message":"Hello",{FULL}}}'.encode(), JSON)).body
    second = await serve(memcached_hosts=(address,))
    assert published in (await get(second)).body
    (entry,) = memcached.recents()
    assert entry["data"] == {"b": [1, None], "a": 100.0}
    kept = {name: entry[name] for name in ("id", "time", "message")}
    put(memcached, json.dumps({"notifications": [kept]}).encode())
    third = await serve(memcached_hosts=(address,))
    assert published[: published.index(b',"title"')] + b"}" in (await get(third)).body
    await post(first, b"later")
    assert memcached.recents()[0] == entry
    for each in (first, second, third):
        assert published in (await get(each)).body
