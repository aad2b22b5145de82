"""`/notifications`: publish with POST, poll with GET, byte for byte."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import aionotify.endpoints.notifications
from aionotify.app import HUB, NOTIFIER, create_app
from aionotify.net import Address
from tests.support import Answer, MemcachedProcess, alone, converse, exchange

Serve = Callable[[web.Application], Awaitable[TestServer]]

OBJECT = re.compile(
    rb'\{"type":"notification","id":"(\d{16})","time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",'
    rb'"topic":"([^"]+)","message":"([^"]*)"\}'
)
JSON = b"Content-Type: application/json"


class Running:
    """A server, asked over raw sockets."""

    def __init__(self, app: web.Application, port: int) -> None:
        self.app = app
        self.port = port

    async def post(self, body: bytes, *headers: bytes, query: bytes = b"") -> Answer:
        """Publish `body`."""
        length = b"Content-Length: %d" % len(body)
        lines = (b"POST /notifications%b HTTP/1.1" % query, b"Host: 127.0.0.1", length, *headers)
        head = b"\r\n".join([*lines, b"Connection: close", b"", body])
        status, _, rest = (await converse(self.port, head)).partition(b"\r\n")
        heads, _, answer = rest.partition(b"\r\n\r\n")
        return Answer(status, tuple(heads.split(b"\r\n")), answer)

    async def get(self, query: bytes = b"") -> Answer:
        """Poll."""
        return await exchange(self.port, b"GET /notifications%b HTTP/1.1" % query)

    async def publish(self, *messages: str, topic: str = "main") -> list[int]:
        """Past every wire format; the ids."""
        notifier = self.app[NOTIFIER]
        return [(await notifier.publish(message, topic)).id for message in messages]


@pytest.fixture
async def running(aiohttp_server: Serve) -> Running:
    """Without memcached, with nothing published yet."""
    return await serve(aiohttp_server)


async def serve(aiohttp_server: Serve, **values: int) -> Running:
    app = create_app(alone(**values))
    port = (await aiohttp_server(app)).port
    assert port is not None
    return Running(app, port)


def messages(body: bytes) -> list[bytes]:
    """The texts, of notifications that look as they have to."""
    return [found[3] for found in OBJECT.finditer(body)]


# ------------------------------------------------------------------------------------- publish


async def test_a_text_is_published_and_answered_with_the_notification(running: Running) -> None:
    answer = await running.post(b"Hello")
    assert answer.status == b"HTTP/1.1 201 Created"
    assert JSON in answer.headers
    found = OBJECT.fullmatch(answer.body)
    assert found
    assert (found[2], found[3]) == (b"main", b"Hello")
    assert (await running.get()).body == (
        b'{"notifications":[' + answer.body + b'],"complete":true}'
    )


@pytest.mark.parametrize(
    "content_type",
    [b"application/x-www-form-urlencoded", b"text/plain", b"application/octet-stream", b"image/x"],
)
async def test_the_body_is_the_message_whatever_its_type(
    running: Running, content_type: bytes
) -> None:
    answer = await running.post("a=b&é 😀%20".encode(), b"Content-Type: " + content_type)
    assert messages(answer.body) == ["a=b&é 😀%20".encode()]


@pytest.mark.parametrize("parameters", [b"", b"; charset=utf-8", b";charset=UTF-8"])
async def test_json_has_the_message_in_it(running: Running, parameters: bytes) -> None:
    answer = await running.post(b'{"message":"\\u00e9 H","x":1}', JSON + parameters)
    assert answer.status == b"HTTP/1.1 201 Created"
    assert messages(answer.body) == ["é H".encode()]


async def test_white_space_goes_at_both_ends_and_a_prefix_stays(running: Running) -> None:
    """The prefix is a permission of WebSocket users; here the body is the message."""
    assert messages((await running.post(b"  admin:x \n")).body) == [b"admin:x"]


ACCEPTED = b'{"detail":"Accepted is JSON like {\\"message\\":\\"Hello\\"}, with valid Unicode."}'


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"5", b"null", b'"message"', b"{}", b'{"message":5}', b"NaN"),
        *(b'{"message":null}', b'{"message":["x"]}', b'{"message":"\\ud800"}', b"[" * 100_000),
        *(b'{"message":' + b"[" * 50_000, b'{"message":"a\nb"}'),
    ],
)
async def test_what_is_no_such_json_is_refused(running: Running, body: bytes) -> None:
    answer = await running.post(body, JSON)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert answer.body == ACCEPTED
    assert (await running.app[NOTIFIER].recent()).notifications == []


@pytest.mark.parametrize("headers", [(), (JSON,)])
async def test_what_is_not_utf_8_is_refused(running: Running, headers: tuple[bytes, ...]) -> None:
    answer = await running.post(b'{"message":"\xff"}', *headers)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert answer.body == b'{"detail":"The body is not UTF-8 (invalid start byte)."}'


@pytest.mark.parametrize(("body", "headers"), [(b" \n", ()), (b'{"message":" "}', (JSON,))])
async def test_an_empty_message_is_refused(
    running: Running, body: bytes, headers: tuple[bytes, ...]
) -> None:
    answer = await running.post(body, *headers)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert answer.body == b'{"detail":"Empty notifications are not sent."}'


async def test_a_message_may_have_so_many_bytes_and_no_more(aiohttp_server: Serve) -> None:
    running = await serve(aiohttp_server, max_message_bytes=10)
    assert (await running.post(b"x" * 10)).status == b"HTTP/1.1 201 Created"
    assert (await running.post(b" " * 500 + b"x" * 10 + b"\n")).status == b"HTTP/1.1 201 Created"
    answer = await running.post(b"x" * 11)
    assert answer.status == b"HTTP/1.1 413 Request Entity Too Large"
    assert answer.body == b'{"detail":"The message has 11 bytes; the limit is 10."}'
    answer = await running.post(b"x" * 1035)
    assert answer.status == b"HTTP/1.1 413 Request Entity Too Large"
    assert answer.body.startswith(b'{"detail":"The body is longer than the 1034 bytes')
    answer = await running.post(b'{"message":"%b"}' % (b"x" * 11), JSON)
    assert answer.status == b"HTTP/1.1 413 Request Entity Too Large"
    assert answer.body == b'{"detail":"The message has 11 bytes; the limit is 10."}'


async def test_escapes_do_not_count(aiohttp_server: Serve) -> None:
    running = await serve(aiohttp_server, max_message_bytes=1000)
    body = b'{"message":"x%bx"}' % (b"\\u0001" * 998)
    assert (await running.post(body, JSON)).status == b"HTTP/1.1 201 Created"


async def test_a_chunked_body_without_end_is_cut_off(running: Running) -> None:
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


async def test_a_body_that_does_not_arrive_is_answered(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aionotify.endpoints.notifications, "BODY_TIMEOUT", 0.1)
    head = b"POST /notifications HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nHel"
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(head)
    assert await asyncio.wait_for(reader.readline(), 5) == b"HTTP/1.1 408 Request Timeout\r\n"
    writer.close()


async def test_once_it_is_answered_it_is_in_memcached(
    aiohttp_server: Serve, memcached: MemcachedProcess
) -> None:
    app = create_app(alone(memcached_hosts=(Address("127.0.0.1", memcached.port),)))
    port = (await aiohttp_server(app)).port
    assert port is not None
    running = Running(app, port)
    for number in range(5):
        assert (await running.post(b"%d" % number)).status == b"HTTP/1.1 201 Created"
        assert memcached.messages()[-1] == f"{number}"
    answers = await asyncio.gather(*(running.post(b"many", query=b"?topic=t") for _ in range(50)))
    assert {answer.status for answer in answers} == {b"HTTP/1.1 201 Created"}
    assert memcached.messages("t") == ["many"] * 5


async def test_a_memcached_that_hangs_is_waited_for_half_a_second(
    aiohttp_server: Serve, memcached: MemcachedProcess
) -> None:
    app = create_app(alone(memcached_hosts=(Address("127.0.0.1", memcached.port),)))
    port = (await aiohttp_server(app)).port
    assert port is not None
    memcached.freeze()
    try:
        answer = await asyncio.wait_for(Running(app, port).post(b"Hello"), 3)
        assert answer.status == b"HTTP/1.1 201 Created"
    finally:
        memcached.thaw()


async def test_nothing_is_taken_in_once_the_server_stops(running: Running) -> None:
    await running.app[HUB].shutdown(0)
    answer = await running.post(b"Hello")
    assert answer.status == b"HTTP/1.1 503 Service Unavailable"
    assert b"Retry-After: 5" in answer.headers
    assert answer.body == b'{"detail":"The server is stopping. Please try again later."}'


async def test_messages_cannot_be_posted_to(running: Running) -> None:
    answer = await exchange(running.port, b"POST /messages HTTP/1.1", b"Content-Length: 0")
    assert answer.status == b"HTTP/1.1 405 Method Not Allowed"
    assert b"Allow: GET, HEAD" in answer.headers


# ---------------------------------------------------------------------------------------- poll


async def test_the_recents_are_five(running: Running) -> None:
    await running.publish(*"abcdefg")
    body = (await running.get()).body
    assert messages(body) == [b"c", b"d", b"e", b"f", b"g"]
    assert body.endswith(b'],"complete":true}')


async def test_since_is_all_that_came_after(running: Running) -> None:
    ids = await running.publish(*map(str, range(300)))
    body = (await running.get(b"?since=%d" % ids[10])).body
    assert messages(body) == [b"%d" % number for number in range(11, 300)]
    assert body.endswith(b'],"complete":true}')
    assert (await running.get(b"?since=%d" % ids[-1])).body == (
        b'{"notifications":[],"complete":true}'
    )


async def test_what_may_be_missing_is_said(aiohttp_server: Serve) -> None:
    running = await serve(aiohttp_server, history_limit=3)
    a, b, c, d, e = await running.publish(*"abcde")
    assert (await running.get(b"?since=%d" % a)).body.endswith(b'],"complete":false}')
    floor = (await running.get(b"?since=%d" % b)).body
    assert messages(floor) == [b"c", b"d", b"e"]
    assert floor.endswith(b'],"complete":true}')
    for unknown in (0, 1, c - 1 if c - 1 != b else 2, e + 1, 10**16 - 1):
        assert (await running.get(b"?since=%d" % unknown)).body.endswith(b'"complete":false}')
    assert messages((await running.get(b"?since=%d" % d)).body) == [b"e"]


async def test_topics_know_nothing_of_each_other(running: Running) -> None:
    (other,) = await running.publish("other", topic="other.topic_-1")
    await running.post(b"one", query=b"?topic=one")
    assert messages((await running.get(b"?topic=one")).body) == [b"one"]
    assert messages((await running.get(b"?topic=other.topic_-1")).body) == [b"other"]
    assert (await running.get()).body == b'{"notifications":[],"complete":true}'
    assert (await running.get(b"?topic=one&since=%d" % other)).body.endswith(b'"complete":false}')


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (b"?topic=a%20b", b"The topic 'a b' is not accepted; accepted are 1 to 64 letters"),
        (b"?topic=", b"The topic '' is not accepted"),
        (b"?topic=" + b"x" * 65, b"The topic 'xxxx"),
        (b"?topic=%C3%A9", "The topic 'é' is not accepted".encode()),
        (b"?topic=a%0A", b"The topic 'a\\\\n' is not accepted"),
        (b"?since=", b"since='' is not accepted; accepted is the id of a notification"),
        (b"?since=-1", b"since='-1' is not accepted"),
        (b"?since=1e3", b"since='1e3' is not accepted"),
        (b"?since=%D9%A1", b"since='\xd9\xa1' is not accepted"),
        (b"?since=" + b"9" * 17, b"since='99999999999999999' is not accepted"),
        (b"?since=" + b"9" * 5000, b"since='99999"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_sentence(
    running: Running, query: bytes, sentence: bytes
) -> None:
    answer = await running.get(query)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert answer.body.startswith(b'{"detail":"' + sentence)
    assert len(answer.body) < 300


async def test_asking_for_a_topic_leaves_nothing_behind(running: Running) -> None:
    for number in range(100):
        await running.get(b"?topic=t%d&since=1" % number)
        await running.get(b"?topic=t%d" % number)
    assert set(running.app[HUB].last_ids()) <= {"main"}
