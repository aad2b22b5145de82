"""`GET /messages`: recent notifications as plain text, byte for byte."""

from tests.support import exchange
from tests.support.app import RunningApp


async def messages(running: RunningApp) -> bytes:
    """Return the body of the response, after checking its head."""
    answer = await exchange(running.port, b"GET /messages HTTP/1.1")
    assert answer.status == b"HTTP/1.1 200 OK"
    assert answer.headers[0] == b"Content-Type: application/json"
    return answer.body


async def test_nothing_published_is_empty_list(running: RunningApp) -> None:
    assert await messages(running) == b'{"recent_messages":[]}'


async def test_messages_are_oldest_first(running: RunningApp) -> None:
    await running.publish("oldest", "middle", "newest")
    assert await messages(running) == b'{"recent_messages":["oldest","middle","newest"]}'


async def test_five_messages_at_most(running: RunningApp) -> None:
    await running.publish(*"abcdefg")
    assert await messages(running) == b'{"recent_messages":["c","d","e","f","g"]}'


async def test_websocket_messages_are_included(running: RunningApp) -> None:
    async with running.client("?client=admin") as admin:
        await admin.send("admin: Hello ")
        await admin.recv()
    assert await messages(running) == b'{"recent_messages":["Hello"]}'


async def test_messages_are_raw_utf_8(running: RunningApp) -> None:
    """Only characters that JSON requires to be escaped are escaped."""
    await running.publish("é 😀 \u2028", 'in\ntwo "lines" \\ / \t\x01<b>')
    assert await messages(running) == (
        b'{"recent_messages":["\xc3\xa9 \xf0\x9f\x98\x80",'
        b'"in\\ntwo \\"lines\\" \\\\ / \\t\\u0001<b>"]}'
    )
