"""Many notifications in one `POST`: several topics, and lines of NDJSON."""

import json
import re

import pytest

import aionotify.cache
from aionotify.keys import CACHE, HUB
from aionotify.net import Address
from tests.http.test_notifications import JSON, OBJECT, TOO_LARGE, get, messages, post
from tests.support import MemcachedProcess
from tests.support.app import RunningApp, Serve

LINES = b"Content-Type: application/x-ndjson"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request"
CREATED = b"HTTP/1.1 201 Created"
HUNDRED = b"?topic=" + b",".join(b"t%d" % number for number in range(100))


def published(body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the topics and messages in a response, whose ids must increase."""
    assert re.fullmatch(rb'\{"notifications":\[\{.*\}\]\}', body)
    ids = [int(found[1]) for found in OBJECT.finditer(body)]
    assert ids == sorted(set(ids))
    return [(found[2], found[3]) for found in OBJECT.finditer(body)]


def line(message: str, topic: str | None = None, **fields: object) -> bytes:
    """Return an object and a line break."""
    named = {} if topic is None else {"topic": topic}
    return json.dumps(named | {"message": message} | fields).encode() + b"\n"


# ------------------------------------------------------------------------------------ many topics


@pytest.mark.parametrize(
    ("body", "headers"), [(b" Hello", ()), (b'{"message":"Hello"}', (JSON,))], ids=["text", "JSON"]
)
async def test_topics_are_published_in_order(
    running: RunningApp, body: bytes, headers: tuple[bytes, ...]
) -> None:
    answer = await post(running, body, *headers, query=b"?topic=b,a,b,user.42")
    assert answer.status == CREATED
    assert published(answer.body) == [(b"b", b"Hello"), (b"a", b"Hello"), (b"user.42", b"Hello")]
    for topic in (b"a", b"b", b"user.42"):
        assert messages((await get(running, b"?topic=" + topic)).body) == [b"Hello"]


async def test_one_topic_twice_is_one_topic(running: RunningApp) -> None:
    assert OBJECT.fullmatch((await post(running, b"Hello", query=b"?topic=a,a")).body)


async def test_hundred_topics_are_the_limit(running: RunningApp) -> None:
    assert len(published((await post(running, b"x", query=HUNDRED)).body)) == 100
    answer = await post(running, b"x", query=HUNDRED + b",more")
    assert answer.status == BAD_REQUEST
    assert answer.body == b'{"detail":"topic: 101 topics (expected at most 100)"}'
    assert running.app[HUB].stats.published == 100


@pytest.mark.parametrize("query", [b"?topic=a,b%20", b"?topic=a,", b"?topic=,", b"?topic=a,b;c"])
async def test_invalid_topic_publishes_to_none(running: RunningApp, query: bytes) -> None:
    answer = await post(running, b"x", query=query)
    assert answer.status == BAD_REQUEST
    assert answer.body.startswith(b'{"detail":"topic: invalid value ')
    assert running.app[HUB].stats.published == 0


# ----------------------------------------------------------------------------------------- NDJSON


async def test_lines_are_published_in_order(running: RunningApp) -> None:
    """Empty lines and CRLF are accepted; the last line needs no line break."""
    body = b"\xef\xbb\xbf\r\n" + line("1", "a") + line("2") + b" \n\r\n" + line("3", "a")
    body += b'{"message":"4"}'
    answer = await post(running, body, LINES, query=b"?topic=b")
    assert answer.status == CREATED
    assert published(answer.body) == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"b", b"4")]
    assert messages((await get(running, b"?topic=a")).body) == [b"1", b"3"]
    assert published((await post(running, line("5"), LINES)).body) == [(b"main", b"5")]


async def test_lines_have_fields(running: RunningApp) -> None:
    answer = await post(running, line("1", title="T", data=None) + line("2", url="/x"), LINES)
    first, second = json.loads(answer.body)["notifications"]
    assert (first["title"], first["data"], second["url"]) == ("T", None, "/x")


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b"x\n", b'Expected JSON like {\\"message\\":\\"Hello\\"}, with valid Unicode.'),
        (b"[" * 50_000 + b"\n", b"Expected JSON like "),
        (b'{"message":"a"}{"message":"b"}\n', b"Expected JSON like "),
        (line(" "), b"Empty notifications are not sent."),
        (line("x", "a b"), b"topic: invalid value 'a b' (expected "),
        (line("x", url="javascript:x"), b"url: invalid value 'javascript:x' (expected "),
        (line("x", key="k"), b"'key': unknown member (expected in the header Idempotency-Key)"),
    ],
    ids=lambda value: value[:20].decode(),
)
async def test_first_bad_line_is_named(running: RunningApp, bad: bytes, sentence: bytes) -> None:
    """And nothing of the good ones is published."""
    good = b"".join(line(f"{number}", f"t{number}") for number in range(300))
    answer = await post(running, good + b"\n" + bad + b"{\n" + good, LINES)
    assert answer.status == BAD_REQUEST
    assert answer.body.startswith(b'{"detail":"line 302: ' + sentence)
    assert running.app[HUB].stats.published == running.app[HUB].topics == 0


async def test_too_big_line_is_413(serve: Serve) -> None:
    running = await serve(max_message_bytes=10)
    answer = await post(running, line("x") + line("x" * 11), LINES)
    assert answer.status == TOO_LARGE
    assert answer.body == b'{"detail":"line 2: The message has 11 bytes; the limit is 10."}'
    assert running.app[HUB].stats.published == 0


@pytest.mark.parametrize("body", [b"", b"\n\r\n", b"\xef\xbb\xbf"])
async def test_no_line_is_400(running: RunningApp, body: bytes) -> None:
    answer = await post(running, body, LINES)
    assert answer.status == BAD_REQUEST
    assert answer.body == (
        b'{"detail":"Expected lines like {\\"topic\\":\\"main\\",\\"message\\":\\"Hello\\"}."}'
    )


async def test_thousand_lines_are_the_limit(running: RunningApp) -> None:
    body = b"".join(line(f"{number}", f"t{number}") for number in range(1000))
    assert len(published((await post(running, body, LINES)).body)) == 1000
    answer = await post(running, body + line("x"), LINES)
    assert answer.status == BAD_REQUEST
    assert answer.body == b'{"detail":"line 1001: expected at most 1000 notifications"}'
    answer = await post(running, line("x") * 11, LINES, query=HUNDRED)
    assert answer.body == b'{"detail":"line 11: expected at most 1000 notifications"}'
    assert running.app[HUB].stats.published == 1000


async def test_mebibyte_is_the_limit(running: RunningApp) -> None:
    assert (await post(running, line("x").ljust(1 << 20, b"\n"), LINES)).status == CREATED
    assert (await post(running, line("x").ljust((1 << 20) + 1), LINES)).status == TOO_LARGE
    assert running.app[HUB].stats.published == 1


async def test_lines_without_topic_go_to_all(running: RunningApp) -> None:
    answer = await post(running, line("1") + line("2", "c"), LINES, query=b"?topic=a,b")
    assert published(answer.body) == [(b"a", b"1"), (b"b", b"1"), (b"c", b"2")]


async def test_stopping_server_publishes_none(running: RunningApp) -> None:
    await running.app[HUB].shutdown(0)
    answer = await post(running, line("1") + line("2"), LINES)
    assert answer.status == b"HTTP/1.1 503 Service Unavailable"
    assert running.app[HUB].stats.published == 0


async def test_batch_is_stored_in_few_rounds(
    serve: Serve, memcached: MemcachedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 topics: 16 rounds of 64 without a pause, in place of one for each topic."""
    running = await serve(memcached_hosts=(Address("127.0.0.1", memcached.port),))
    body = b"".join(line(f"{number}", f"t{number}") for number in range(1000))
    monkeypatch.setattr(aionotify.cache, "WRITE_DELAY", 3600)
    rounds = running.app[CACHE].write_seconds.counts
    before = sum(rounds)
    assert (await post(running, body, LINES)).status == CREATED
    assert 16 <= sum(rounds) - before <= 18
    assert memcached.messages("t0") == ["0"]
    assert memcached.messages("t999") == ["999"]
