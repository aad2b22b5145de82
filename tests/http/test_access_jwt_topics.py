"""JWTs and requests for several topics: every topic must be in the scope, or nothing happens."""

import json
from typing import Any

import aiohttp
import pytest

from tests.support.app import RunningApp, Serve
from tests.support.jwts import SECRET, token


@pytest.fixture
async def running(serve: Serve) -> RunningApp:
    """Start an application with a secret."""
    return await serve(jwt_secrets=(SECRET,))


async def post(
    running: RunningApp, query: str, body: str, scope: str, *, lines: bool = False, **others: Any
) -> tuple[int, str]:
    """Publish with a token; return the status, and the scope that is missing or the body."""
    headers = {"Authorization": f"Bearer {token(scope, sub=others.pop('sub', '42'))}", **others}
    if lines:
        headers["Content-Type"] = "application/x-ndjson"
    url = f"http://127.0.0.1:{running.port}/notifications{query}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers) as response,
    ):
        challenge = response.headers.get("WWW-Authenticate", "")
        return response.status, challenge.partition('scope="')[2][:-1] or await response.text()


async def test_each_topic_of_a_message_is_checked(running: RunningApp) -> None:
    assert await post(running, "?topic=a,b,c", "x", "publish:b") == (403, "publish:a publish:c")
    status, body = await post(running, "?topic=a,b", "x", "publish:a publish:b*")
    assert (status, len(json.loads(body)["notifications"])) == (201, 2)
    assert [each.message for each in await running.publish("last", topic="a")] == ["last"]
    async with running.client(f"?topic=a&token={token('subscribe:a')}") as client:
        assert [await client.recv() for _ in range(2)] == ["[Recent] x", "[Recent] last"]


async def test_each_line_is_checked(running: RunningApp) -> None:
    """The topics are in the body, and one that is not allowed stops all of them."""
    lines = "\n".join(f'{{"topic":"{topic}","message":"x"}}' for topic in ("a", "b", "a"))
    assert await post(running, "", lines, "publish:a", lines=True) == (403, "publish:b")
    unnamed = '{"message":"x"}\n' + lines
    assert await post(running, "", unnamed, "publish:a publish:b", lines=True) == (
        403,
        "publish:main",
    )
    status, body = await post(running, "", lines, "publish:a publish:b", lines=True)
    assert (status, len(json.loads(body)["notifications"])) == (201, 3)
    async with running.client(f"?topic=a&token={token('subscribe:a')}") as client:
        assert [await client.recv() for _ in range(2)] == ["[Recent] x", "[Recent] x"]


async def test_key_belongs_to_the_subject(running: RunningApp) -> None:
    """Of all tokens of a user, and of nobody else."""

    async def send(**others: Any) -> tuple[int, str]:
        return await post(running, "", "x", **{"scope": "publish:*", **others})

    key = {"Idempotency-Key": "abc"}
    first = await send(**key)
    assert first[0] == 201
    assert await send(**key) == first
    assert await send(scope="publish:main", **key) == first
    other = await send(sub="43", **key)
    assert (other[0], other == first) == (201, False)
    assert await send(scope="publish:other", **key) == (403, "publish:main")


async def test_renewal_must_cover_every_topic(running: RunningApp) -> None:
    query = f"?topic=a,b&format=json&token={token('subscribe:a subscribe:b')}"
    async with running.client(query) as client:
        assert json.loads(await client.recv())["topics"] == ["a", "b"]
        await client.send(json.dumps({"token": token("subscribe:a")}))
        reply = json.loads(await client.recv())
        assert reply["detail"].startswith("The token lacks the scope 'subscribe:b' (expected ")
        await client.send(json.dumps({"token": token("subscribe:*")}))
        assert json.loads(await client.recv())["type"] == "authorized"


async def test_frame_needs_the_scope_of_its_topic(running: RunningApp) -> None:
    """A renewal may take the right to publish to one of two topics."""
    both = token("subscribe:* publish:a publish:b")
    async with running.client(f"?topic=a,b&client=admin&format=json&token={both}") as client:
        await client.recv()
        await client.send(json.dumps({"token": token("subscribe:* publish:b")}))
        assert json.loads(await client.recv())["type"] == "authorized"
        await client.send('{"topic":"a","message":"x"}')
        assert json.loads(await client.recv())["type"] == "error"
        await client.send('{"topic":"b","message":"x"}')
        kinds = {json.loads(await client.recv())["type"] for _ in range(2)}
        assert kinds == {"accepted", "notification"}
