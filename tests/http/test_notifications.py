"""`/notifications`: publish with POST, poll with GET, byte for byte."""

import asyncio
import re
from http import HTTPStatus

import pytest

import aionotify.http.body
from aionotify.keys import HUB, NOTIFIER
from aionotify.net import Address
from tests.support import Answer, MemcachedProcess, converse, exchange
from tests.support.app import RunningApp, Serve

OBJECT = re.compile(
    rb'\{"type":"notification","id":"(\d{16})","time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",'
    rb'"topic":"([^"]+)","message":"([^"]*)"\}'
)
JSON = b"Content-Type: application/json"

TOO_LARGE = f"HTTP/1.1 413 {HTTPStatus(413).phrase}".encode()
"""Python 3.13 has the phrase of RFC 9110, earlier versions that of RFC 2616."""


async def post(running: RunningApp, body: bytes, *headers: bytes, query: bytes = b"") -> Answer:
    """Publish `body`."""
    length = b"Content-Length: %d" % len(body)
    lines = (b"POST /notifications%b HTTP/1.1" % query, b"Host: 127.0.0.1", length, *headers)
    head = b"\r\n".join([*lines, b"Connection: close", b"", body])
    status, _, rest = (await converse(running.port, head)).partition(b"\r\n")
    heads, _, answer = rest.partition(b"\r\n\r\n")
    return Answer(status, tuple(heads.split(b"\r\n")), answer)


async def get(running: RunningApp, query: bytes = b"") -> Answer:
    """Poll."""
    return await exchange(running.port, b"GET /notifications%b HTTP/1.1" % query)


async def publish(running: RunningApp, *messages: str, topic: str = "main") -> list[int]:
    """Publish without a request, and return the ids."""
    return [each.id for each in await running.publish(*messages, topic=topic)]


def messages(body: bytes) -> list[bytes]:
    """Return the messages of all notifications that have exactly the right format."""
    return [found[3] for found in OBJECT.finditer(body)]


# ------------------------------------------------------------------------------------- publish


async def test_publish_returns_notification(running: RunningApp) -> None:
    answer = await post(running, b"Hello")
    assert answer.status == b"HTTP/1.1 201 Created"
    assert JSON in answer.headers
    found = OBJECT.fullmatch(answer.body)
    assert found
    assert (found[2], found[3]) == (b"main", b"Hello")
    assert (await get(running)).body == (
        b'{"notifications":[' + answer.body + b'],"complete":true,"id":"' + found[1] + b'"}'
    )


@pytest.mark.parametrize(
    "content_type",
    [b"application/x-www-form-urlencoded", b"text/plain", b"application/octet-stream", b"image/x"],
)
async def test_any_other_type_is_text(running: RunningApp, content_type: bytes) -> None:
    answer = await post(running, "a=b&é 😀%20".encode(), b"Content-Type: " + content_type)
    assert messages(answer.body) == ["a=b&é 😀%20".encode()]


@pytest.mark.parametrize("parameters", [b"", b"; charset=utf-8", b";charset=UTF-8"])
async def test_json_body_contains_message(running: RunningApp, parameters: bytes) -> None:
    answer = await post(running, b'{"message":"\\u00e9 H"}', JSON + parameters)
    assert answer.status == b"HTTP/1.1 201 Created"
    assert messages(answer.body) == ["é H".encode()]


async def test_white_space_is_stripped_prefix_kept(running: RunningApp) -> None:
    """The prefix is a permission of WebSocket users; here the body is the message."""
    assert messages((await post(running, b"  admin:x \n")).body) == [b"admin:x"]


EXPECTED = b'{"detail":"Expected JSON like {\\"message\\":\\"Hello\\"}, with valid Unicode."}'


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"5", b"null", b'"message"', b"{}", b'{"message":5}', b"NaN"),
        *(b'{"message":null}', b'{"message":["x"]}', b'{"message":"\\ud800"}', b"[" * 100_000),
        *(b'{"message":' + b"[" * 50_000, b'{"message":"a\nb"}'),
    ],
)
async def test_invalid_json_is_400(running: RunningApp, body: bytes) -> None:
    answer = await post(running, body, JSON)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert answer.body == EXPECTED
    assert (await running.app[NOTIFIER].recent()).notifications == []


@pytest.mark.parametrize("headers", [(), (JSON,)])
async def test_invalid_utf_8_is_400(running: RunningApp, headers: tuple[bytes, ...]) -> None:
    answer = await post(running, b'{"message":"\xff"}', *headers)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert answer.body == b'{"detail":"The body is not UTF-8 (invalid start byte)."}'


@pytest.mark.parametrize(("body", "headers"), [(b" \n", ()), (b'{"message":" "}', (JSON,))])
async def test_empty_message_is_400(
    running: RunningApp, body: bytes, headers: tuple[bytes, ...]
) -> None:
    answer = await post(running, body, *headers)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert answer.body == b'{"detail":"Empty notifications are not sent."}'


async def test_too_big_message_is_413(serve: Serve) -> None:
    running = await serve(max_message_bytes=10)
    assert (await post(running, b"x" * 10)).status == b"HTTP/1.1 201 Created"
    assert (await post(running, b" " * 500 + b"x" * 10 + b"\n")).status == b"HTTP/1.1 201 Created"
    answer = await post(running, b"x" * 11)
    assert answer.status == TOO_LARGE
    assert answer.body == b'{"detail":"The message has 11 bytes; the limit is 10."}'
    answer = await post(running, b"x" * 1035)
    assert answer.status == TOO_LARGE
    assert answer.body.startswith(b'{"detail":"The body exceeds the limit of 1034 bytes')
    answer = await post(running, b'{"message":"%b"}' % (b"x" * 11), JSON)
    assert answer.status == TOO_LARGE
    assert answer.body == b'{"detail":"The message has 11 bytes; the limit is 10."}'


async def test_json_escapes_do_not_count(serve: Serve) -> None:
    running = await serve(max_message_bytes=1000)
    body = b'{"message":"x%bx"}' % (b"\\u0001" * 998)
    assert (await post(running, body, JSON)).status == b"HTTP/1.1 201 Created"


async def test_endless_chunked_body_is_413(running: RunningApp) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST /notifications HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    writer.write(b"Transfer-Encoding: chunked\r\n\r\n")

    async def send() -> None:
        while True:
            writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            await writer.drain()

    sending = asyncio.create_task(send())
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 413 ")
    sending.cancel()
    await asyncio.wait([sending])
    writer.close()


async def test_body_timeout_is_408(running: RunningApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aionotify.http.body, "BODY_TIMEOUT", 0.1)
    head = b"POST /notifications HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nHel"
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(head)
    assert await asyncio.wait_for(reader.readline(), 5) == b"HTTP/1.1 408 Request Timeout\r\n"
    writer.close()


async def test_published_is_in_memcached(serve: Serve, memcached: MemcachedProcess) -> None:
    running = await serve(memcached_hosts=(Address("127.0.0.1", memcached.port),))
    for number in range(5):
        assert (await post(running, b"%d" % number)).status == b"HTTP/1.1 201 Created"
        assert memcached.messages()[-1] == f"{number}"
    answers = await asyncio.gather(*(post(running, b"many", query=b"?topic=t") for _ in range(50)))
    assert {answer.status for answer in answers} == {b"HTTP/1.1 201 Created"}
    assert memcached.messages("t") == ["many"] * 5


async def test_hanging_memcached_delays_shortly(serve: Serve, memcached: MemcachedProcess) -> None:
    """After half a second, the response does not wait for memcached any longer."""
    running = await serve(memcached_hosts=(Address("127.0.0.1", memcached.port),))
    memcached.freeze()
    try:
        answer = await asyncio.wait_for(post(running, b"Hello"), 3)
        assert answer.status == b"HTTP/1.1 201 Created"
    finally:
        memcached.thaw()


async def test_publish_while_stopping_is_503(running: RunningApp) -> None:
    await running.app[HUB].shutdown(0)
    answer = await post(running, b"Hello")
    assert answer.status == b"HTTP/1.1 503 Service Unavailable"
    assert b"Retry-After: 5" in answer.headers
    assert answer.body == b'{"detail":"The server is stopping. Please try again later."}'


async def test_post_messages_is_405(running: RunningApp) -> None:
    answer = await exchange(running.port, b"POST /messages HTTP/1.1", b"Content-Length: 0")
    assert answer.status == b"HTTP/1.1 405 Method Not Allowed"
    assert b"Allow: GET, HEAD" in answer.headers


# ---------------------------------------------------------------------------------------- poll


async def test_poll_returns_five_recents(running: RunningApp) -> None:
    ids = await publish(running, *"abcdefg")
    body = (await get(running)).body
    assert messages(body) == [b"c", b"d", b"e", b"f", b"g"]
    assert body.endswith(b'],"complete":true,"id":"%d"}' % ids[-1])


async def test_since_returns_everything_after(running: RunningApp) -> None:
    ids = await publish(running, *map(str, range(300)))
    body = (await get(running, b"?since=%d" % ids[10])).body
    assert messages(body) == [b"%d" % number for number in range(11, 300)]
    assert body.endswith(b'],"complete":true,"id":"%d"}' % ids[-1])
    assert (await get(running, b"?since=%d" % ids[-1])).body == (
        b'{"notifications":[],"complete":true,"id":"%d"}' % ids[-1]
    )


async def test_missing_notifications_are_not_complete(serve: Serve) -> None:
    running = await serve(history_limit=3, recent_limit=3)
    a, b, c, d, e = await publish(running, *"abcde")
    incomplete = b'],"complete":false,"id":"%d"}' % e
    assert (await get(running, b"?since=%d" % a)).body.endswith(incomplete)
    oldest = (await get(running, b"?since=%d" % b)).body
    assert messages(oldest) == [b"c", b"d", b"e"]
    assert oldest.endswith(b'],"complete":true,"id":"%d"}' % e)
    for unknown in (0, 1, c - 1 if c - 1 != b else 2, e + 1, 10**16 - 1):
        assert (await get(running, b"?since=%d" % unknown)).body.endswith(incomplete)
    assert messages((await get(running, b"?since=%d" % d)).body) == [b"e"]


async def test_topics_are_separate(running: RunningApp) -> None:
    (other,) = await publish(running, "other", topic="other.topic_-1")
    await post(running, b"one", query=b"?topic=one")
    assert messages((await get(running, b"?topic=one")).body) == [b"one"]
    assert messages((await get(running, b"?topic=other.topic_-1")).body) == [b"other"]
    empty = (await get(running)).body
    assert re.fullmatch(rb'\{"notifications":\[\],"complete":true,"id":"\d{16}"\}', empty)
    elsewhere = (await get(running, b"?topic=one&since=%d" % other)).body
    assert re.search(rb'\],"complete":false,"id":"\d{16}"\}$', elsewhere)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (b"?topic=a%20b", b"topic: invalid value 'a b' (expected 1 to 64 letters"),
        (b"?topic=", b"topic: invalid value '' (expected "),
        (b"?topic=" + b"x" * 65, b"topic: invalid value 'xxxx"),
        (b"?topic=%C3%A9", "topic: invalid value 'é' (expected ".encode()),
        (b"?topic=a%0A", b"topic: invalid value 'a\\\\n' (expected "),
        (b"?since=-1", b"since: invalid value '-1' (expected "),
        (b"?since=1e3", b"since: invalid value '1e3' (expected "),
        (b"?since=%D9%A1", b"since: invalid value '\xd9\xa1' (expected "),
        (b"?since=" + b"9" * 17, b"since: invalid value '99999999999999999' (expected "),
        (b"?since=" + b"9" * 5000, b"since: invalid value '99999"),
    ],
)
async def test_invalid_parameters_are_400(
    running: RunningApp, query: bytes, sentence: bytes
) -> None:
    answer = await get(running, query)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert answer.body.startswith(b'{"detail":"' + sentence)
    assert len(answer.body) < 300


async def test_caches_keep_no_poll(running: RunningApp) -> None:
    """Varnish keeps a response without Cache-Control for two minutes."""
    for query in (b"", b"?since=0"):
        assert b"Cache-Control: no-store" in (await get(running, query)).headers


async def test_form_data_is_415(running: RunningApp) -> None:
    """As sent by `curl -F`."""
    answer = await post(running, b"--x--", b"Content-Type: multipart/form-data; boundary=x")
    assert answer.status == b"HTTP/1.1 415 Unsupported Media Type"
    assert b'{"detail":"multipart/form-data is not supported' in answer.body


async def test_polling_creates_no_topic(running: RunningApp) -> None:
    for number in range(100):
        await get(running, b"?topic=t%d&since=1" % number)
        await get(running, b"?topic=t%d" % number)
    assert running.app[HUB].topics <= 1
