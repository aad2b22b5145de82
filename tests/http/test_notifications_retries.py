"""`Idempotency-Key`: a request that is repeated publishes once, and gets the first result."""

import asyncio
import contextlib
import json
import socket
import struct
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from aionotify.idempotency import Idempotency
from aionotify.keys import CACHE, HUB, IDEMPOTENCY
from aionotify.notification import Notification
from tests.http.test_notifications import JSON, get, messages, post
from tests.http.test_notifications_many import LINES, line
from tests.support import eventually
from tests.support.app import RunningApp, Serve

KEY = b'Idempotency-Key: "k \\"1\\""'
CREATED = b"HTTP/1.1 201 Created"
ADMINS = ("admin-0123456789", "other-0123456789")


def published(running: RunningApp) -> int:
    """Return how many notifications were published."""
    return running.app[HUB].stats.published


async def test_repeated_request_publishes_once(running: RunningApp) -> None:
    """Each is sent over a connection of its own, the last one in another format."""
    first = await post(running, b"Hello", KEY)
    assert first.status == CREATED
    for body, headers in ((b"Hello", ()), (b" Hello\n", ()), (b'{"message":"Hello"}', (JSON,))):
        again = await post(running, body, KEY, *headers)
        assert (again.status, again.body) == (CREATED, first.body)
    assert published(running) == 1
    assert (await post(running, b"Hello", b"Idempotency-Key: k")).body != first.body
    assert (await post(running, b"Hello")).body != first.body
    assert published(running) == 3


async def test_bare_key_is_the_same(running: RunningApp) -> None:
    first = await post(running, b"Hello", b"Idempotency-Key: 8e03978e-40d5")
    again = await post(running, b"Hello", b'idempotency-key:  "8e03978e-40d5" ')
    assert again.body == first.body


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"Bye", ()), (b'{"message":"Hello","tag":"t"}', (JSON,)), (b'{"message":"Hello"}', (LINES,))],
    ids=["message", "fields", "lines"],
)
async def test_other_body_is_422(
    running: RunningApp, body: bytes, headers: tuple[bytes, ...]
) -> None:
    await post(running, b"Hello", KEY)
    answer = await post(running, body, KEY, *headers)
    assert answer.status == f"HTTP/1.1 422 {HTTPStatus(422).phrase}".encode()
    assert answer.body == (
        b'{"detail":"The idempotency key was used for another message within the last ten minutes '
        b'(expected a new key for each message)."}'
    )
    assert published(running) == 1


async def test_topics_are_part_of_the_key(running: RunningApp) -> None:
    first = await post(running, b"x", KEY, query=b"?topic=a,b")
    assert (await post(running, b"x", KEY, query=b"?topic=a,b")).body == first.body
    turned = json.loads((await post(running, b"x", KEY, query=b"?topic=b,a")).body)
    assert turned["notifications"] == json.loads(first.body)["notifications"][::-1]
    assert published(running) == 2
    assert (await post(running, b"x", KEY, query=b"?topic=a")).status == CREATED
    assert published(running) == 3
    assert (await post(running, b"x", KEY, query=b"?topic=a,b")).body == first.body


async def test_lines_have_one_key(running: RunningApp) -> None:
    body = line("1", "a") + line("2", "b")
    first = await post(running, body, KEY, LINES)
    assert (await post(running, body, KEY, LINES)).body == first.body
    assert published(running) == 2
    moved = line("1", "b") + line("2", "a")
    assert (await post(running, moved, KEY, LINES)).status.startswith(b"HTTP/1.1 422 ")
    assert published(running) == 2


@pytest.mark.parametrize(
    "headers",
    [
        *([b"Idempotency-Key:"], [b'Idempotency-Key: ""'], [b'Idempotency-Key: "a'], [KEY, KEY]),
        *([b"Idempotency-Key: a, b"], [b"Idempotency-Key: \xc3\xa9"], [b"Idempotency-Key: \xff"]),
        [b"Idempotency-Key: " + b"x" * 129],
    ],
)
async def test_malformed_key_is_400(running: RunningApp, headers: list[bytes]) -> None:
    answer = await post(running, b"Hello", *headers)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    detail = json.loads(answer.body)["detail"]
    assert detail.startswith("Idempotency-Key: invalid value ")
    assert detail.endswith(" (expected one string of 1 to 128 printable ASCII characters)")
    assert published(running) == 0


async def test_failed_request_leaves_no_result(serve: Serve) -> None:
    """The next one with its key is the first."""
    running = await serve(max_message_bytes=10)
    for body in (b" ", b"x" * 11):
        assert (await post(running, body, KEY)).status[9:10] == b"4"
    hub = running.app[HUB]
    await hub.shutdown(0)
    assert (await post(running, b"Hello", KEY)).status.startswith(b"HTTP/1.1 503 ")
    hub.open()
    assert (await post(running, b"Hello", KEY)).status == CREATED
    assert published(running) == 1


async def test_senders_have_keys_of_their_own(serve: Serve) -> None:
    """A sender is its token: it may come back from another address."""
    running = await serve(admin_tokens=ADMINS, user_tokens=("user-0123456789a",))
    headers = [b"Authorization: Bearer " + each.encode() for each in ADMINS]
    first, second = [await post(running, b"Hello", KEY, each) for each in headers]
    assert first.body != second.body
    assert (await post(running, b"Hello", KEY, headers[0])).body == first.body
    by_query = await post(running, b"Hello", KEY, query=b"?token=" + ADMINS[1].encode())
    assert by_query.body == second.body
    assert (await post(running, b"Hello", KEY)).status.startswith(b"HTTP/1.1 401 ")
    assert published(running) == 2


# ------------------------------------------------------------------------------ lost connections


async def begin(running: RunningApp, body: bytes, *, reset: bool) -> None:
    """Send a request with the key, and kill the connection as soon as it is published."""
    head = b"POST /notifications HTTP/1.1\r\nHost: localhost\r\n%b\r\nContent-Length: %d\r\n\r\n"
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", running.port))
        await loop.sock_sendall(client, head % (KEY, len(body)) + body)
        await eventually(lambda: published(running) > 0)
        if reset:  # the kernel sends RST in place of FIN
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.both_loops
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_retry_after_lost_connection(
    running: RunningApp, monkeypatch: pytest.MonkeyPatch, reset: bool
) -> None:
    """The first request has published and waits for memcached; the retries wait for the first."""
    stored = asyncio.Event()
    attempts = []
    once = Idempotency.once

    async def store(*names: str) -> None:
        await stored.wait()

    async def count(self: Idempotency, *arguments: Any) -> list[Notification]:
        attempts.append(arguments)
        return await once(self, *arguments)

    monkeypatch.setattr(running.app[CACHE], "flush", store)
    monkeypatch.setattr(Idempotency, "once", count)
    await begin(running, b"Hello", reset=reset)
    retries = [asyncio.create_task(post(running, b"Hello", KEY)) for _ in range(3)]
    await eventually(lambda: len(attempts) == 4)
    assert len(running.app[IDEMPOTENCY]) == 0
    stored.set()
    answers = await asyncio.gather(*retries)
    assert {each.status for each in answers} == {CREATED}
    (body,) = {each.body for each in answers}
    assert published(running) == 1
    assert messages((await get(running)).body) == [b"Hello"]
    assert (await post(running, b"Hello", KEY)).body == body


async def test_retry_after_half_a_request(running: RunningApp) -> None:
    """Nothing was published: the retry is the first."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", running.port))) as client:
        client.send(b"POST /notifications HTTP/1.1\r\nHost: localhost\r\n" + KEY)
        client.send(b"\r\nContent-Length: 5\r\n\r\nHel")
    assert (await post(running, b"Hello", KEY)).status == CREATED
    assert published(running) == 1


async def test_retry_after_lost_answer(running: RunningApp) -> None:
    """The client read only half of it."""
    head = (
        b"POST /notifications HTTP/1.1\r\nHost: localhost\r\n%b\r\nContent-Length: 5\r\n\r\nHello"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(head % KEY)
    assert await reader.readexactly(20) == b"HTTP/1.1 201 Created"
    writer.transport.abort()
    assert (await post(running, b"Hello", KEY)).status == CREATED
    assert published(running) == 1


# -------------------------------------------------------------------------------------- WebSocket


async def reply(client: ClientConnection, frame: str) -> dict[str, str]:
    """Send `frame`, and return the reply, which comes after notifications."""
    await client.send(frame)
    while True:
        found: dict[str, str] = json.loads(await client.recv())
        if found["type"] in ("accepted", "error"):
            return found


async def test_frame_has_a_key(serve: Serve) -> None:
    """It is the same over another connection, and in a `POST` of the same sender."""
    running = await serve(admin_tokens=ADMINS)
    query = f"?format=json&client=admin&token={ADMINS[0]}"
    frame = '{"message":"Hello","key":"k \\"1\\""}'
    async with running.client(query) as client:
        first = await reply(client, frame)
        assert first["type"] == "accepted"
        assert await reply(client, frame) == first
    async with running.client(query) as client:
        assert await reply(client, frame) == first
        error = await reply(client, frame.replace("Hello", "Bye"))
        assert error["detail"].startswith("The idempotency key was used for another message ")
        error = await reply(client, '{"message":"Hello","key":""}')
        assert error["detail"].startswith("key: invalid value '' (expected 1 to 128 printable ")
    authorization = b"Authorization: Bearer " + ADMINS[0].encode()
    answer = await post(running, b"Hello", KEY, authorization)
    assert json.loads(answer.body)["id"] == first["id"]
    assert published(running) == 1
    async with running.client(query.replace(*ADMINS)) as client:
        assert (await reply(client, frame))["id"] != first["id"]
    assert published(running) == 2


async def test_key_of_open_server_is_everybodys(running: RunningApp) -> None:
    frame = '{"message":"Hello","key":"k"}'
    async with running.client("?format=json&client=admin") as client:
        first = await reply(client, frame)
    async with running.client("?format=json") as client:
        user = await reply(client, frame.replace("Hello", "admin:Hello"))
    answer = await post(running, b"Hello", b"Idempotency-Key: k")
    assert first["id"] == user["id"] == json.loads(answer.body)["id"]
    assert published(running) == 1
