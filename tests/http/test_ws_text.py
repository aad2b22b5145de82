"""`GET /ws`: the meaning of text frames in layer 1, and how connections end."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from aionotify.app import create_app
from tests.support import alone
from tests.support.app import RunningApp, Serve

pytestmark = pytest.mark.both_loops

REFUSAL = "You are not authorized to send notifications."
EMPTY = "Empty notifications are not sent."

TEXTS = st.builds(
    str.__add__,
    st.sampled_from(["", "", "admin:", "admin:", "admin:", "Admin:", " admin:"]),
    st.text(st.characters(codec="utf-8"), max_size=30) | st.text(" \n\u3000", max_size=2),
)


async def received(*connections: ClientConnection) -> list[str | bytes]:
    """Return the next frame of each connection."""
    async with asyncio.timeout(5):
        return [await each.recv() for each in connections]


async def code(connection: ClientConnection) -> int | None:
    """Return the code with which the server closes."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
    return connection.close_code


# ----------------------------------------------------------------------- who may publish what


async def test_admin_message_reaches_all(running: RunningApp) -> None:
    async with (
        running.client("?client=admin") as admin,
        running.client() as one,
        running.client() as two,
    ):
        await admin.send("Hello")
        assert await received(admin, one, two) == ["[Notification] Hello"] * 3


async def test_user_publishes_with_prefix(running: RunningApp) -> None:
    async with running.client() as user, running.client() as other:
        await user.send("admin:Hello")
        assert await received(user, other) == ["[Notification] Hello"] * 2


@pytest.mark.parametrize(
    "text", ["Hello", " admin:Hello", "Admin:Hello", "ADMIN:Hello", "admin", "admin :x", "", " "]
)
async def test_user_without_prefix_is_refused(running: RunningApp, text: str) -> None:
    async with running.client() as user, running.client() as other:
        await user.send(text)
        assert await received(user) == [REFUSAL]
        await user.send("admin:afterwards")
        assert await received(user, other) == ["[Notification] afterwards"] * 2


@pytest.mark.parametrize(
    "query",
    ["?client=admin", "?client=user&client=admin", "?x=1&client=admin", "?client=%61dmin"],
)
async def test_client_admin_query_variants(running: RunningApp, query: str) -> None:
    async with running.client(query) as admin:
        await admin.send("Hello")
        assert await received(admin) == ["[Notification] Hello"]


@pytest.mark.parametrize(
    "query",
    [
        *("", "?", "?client", "?client=", "?client=user", "?client=ADMIN", "?client=Admin"),
        *("?client=%20admin", "?client=admin%20", "?client=admin&client=user", "?Client=admin"),
        *("?client=admin,user", "?admin", "?client=administrator"),
    ],
)
async def test_client_user_query_variants(running: RunningApp, query: str) -> None:
    async with running.client(query) as user:
        await user.send("Hello")
        assert await received(user) == [REFUSAL]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Hello", "Hello"),
        ("  Hello \t\r\n", "Hello"),
        ("admin:Hello", "Hello"),
        ("admin: Hello ", "Hello"),
        ("admin:admin:Hello", "admin:Hello"),
        ("about admin:s", "about admin:s"),
        (" admin:Hello", "admin:Hello"),
        ("Admin:Hello", "Admin:Hello"),
        ("one\n\ntwo\r\nthree", "one\n\ntwo\r\nthree"),
        ("\u00a0\u3000é 日本 😀 \u202bعربى\u2028", "é 日本 😀 \u202bعربى"),
        ("a\u0000b", "a\u0000b"),
        ("[Notification] x", "[Notification] x"),
    ],
)
async def test_prefix_and_white_space_are_removed(
    running: RunningApp, text: str, message: str
) -> None:
    async with running.client("?client=admin") as admin, running.client() as user:
        await admin.send(text)
        assert await received(admin, user) == [f"[Notification] {message}"] * 2
    async with running.client() as late:
        assert await received(late) == [f"[Recent] {message}"]


@pytest.mark.parametrize("text", ["", "  ", "\n", "admin:", "admin: \t\u3000"])
async def test_empty_message_is_not_published(running: RunningApp, text: str) -> None:
    async with running.client("?client=admin") as admin, running.client() as user:
        await admin.send(text)
        assert await received(admin) == [EMPTY]
        await user.send("admin: ")
        assert await received(user) == [EMPTY]
        await admin.send("Hello")
        assert await received(admin, user) == ["[Notification] Hello"] * 2
    async with running.client() as late:
        assert await received(late) == ["[Recent] Hello"]


async def test_join_replays_recent_then_live(
    running: RunningApp,
) -> None:
    async with running.client("?client=admin") as admin:
        for number in range(8):
            await admin.send(f"{number}")
            await received(admin)
        async with running.client() as late:
            shown = [(await received(late))[0] for _ in range(5)]
            assert shown == [f"[Recent] {number}" for number in range(3, 8)]
            await admin.send("live")
            assert await received(late, admin) == ["[Notification] live"] * 2
        async with running.client("?client=admin") as late:
            shown = [(await received(late))[0] for _ in range(5)]
            assert shown == [*(f"[Recent] {number}" for number in range(4, 8)), "[Recent] live"]


async def test_burst_keeps_order(running: RunningApp) -> None:
    texts = [f"{number}" for number in range(300)]
    async with running.client("?client=admin") as admin, running.client() as user:
        for text in texts:
            await admin.send(text)
        for connection in (admin, user):
            got = [(await received(connection))[0] for _ in texts]
            assert got == [f"[Notification] {text}" for text in texts]


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_every_text_gets_its_reply(texts: list[str]) -> None:
    """One reply for each, in order: refused, empty, or published."""

    async def converse() -> list[str | bytes]:
        app = create_app(alone())
        async with TestServer(app) as server, RunningApp(app, server.port or 0).client() as user:
            for text in texts:
                await user.send(text)
            return [(await received(user))[0] for _ in texts]

    def expected(text: str) -> str:
        if text[:6] != "admin:":
            return REFUSAL
        message = text[6:].strip()
        return f"[Notification] {message}" if message else EMPTY

    assert asyncio.run(converse()) == [expected(text) for text in texts]


# ---------------------------------------------------------------------------- frames and ends


@pytest.mark.parametrize("length", [0, 1, 111, 112, 125, 126, 65521, 65522, 65535, 65536])
async def test_every_frame_length_passes(running: RunningApp, length: int) -> None:
    """With `[Notification] ` before it, the header of the outgoing frame grows at 111 and 65521."""
    text = "x" * length
    async with running.client("?client=admin") as admin, running.client() as user:
        await admin.send(text)
        wanted = f"[Notification] {text}" if text else EMPTY
        assert await received(admin) == [wanted]
        if text:
            assert await received(user) == [wanted]


async def test_fragments_are_joined(running: RunningApp) -> None:
    async with running.client() as user:
        await user.send(["ad", "min:", "", "Hel", "lo"])
        assert await received(user) == ["[Notification] Hello"]


async def test_binary_frame_closes_with_1003(running: RunningApp) -> None:
    async with running.client("?client=admin") as admin, running.client() as user:
        await admin.send(b"Hello")
        assert await code(admin) == 1003
        await user.send("admin:others go on")
        assert await received(user) == ["[Notification] others go on"]


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        *(("x" * 16, True), ("é" * 8, True), ("admin:" + "x" * 16, True), ("  " + "x" * 16, True)),
        *(("x" * 17, False), ("é" * 8 + "x", False), ("admin:" + "x" * 17, False)),
        ("x" * 999, False),
    ],
)
async def test_too_big_message_closes_with_1009(serve: Serve, text: str, accepted: bool) -> None:
    running = await serve(max_message_bytes=16)
    async with running.client("?client=admin") as admin:
        await admin.send(text)
        if accepted:
            message = text.removeprefix("admin:").strip()
            assert await received(admin) == [f"[Notification] {message}"]
        else:
            assert await code(admin) == 1009


async def test_invalid_utf_8_closes_with_1007(running: RunningApp) -> None:
    async with running.client() as user:
        await user.send(b"\xff", text=True)
        assert await code(user) == 1007


async def test_close_is_answered_with_same_code(running: RunningApp) -> None:
    async with running.client() as user:
        await user.close(4321, "enough")
        assert user.close_code == 4321


async def test_ping_is_answered_with_payload(running: RunningApp) -> None:
    async with running.client() as user, asyncio.timeout(5):
        await (await user.ping(b"payload"))


async def test_vanished_client_affects_no_other(running: RunningApp) -> None:
    async with running.client("?client=admin") as admin, running.client() as user:
        for _ in range(5):
            gone = await connect(f"ws://127.0.0.1:{running.port}/ws")
            gone.transport.abort()
            await admin.send("Hello")
            assert await received(admin, user) == ["[Notification] Hello"] * 2


async def test_shutdown_closes_with_1012(
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]],
) -> None:
    app = create_app(alone())
    server = await aiohttp_server(app)
    running = RunningApp(app, server.port or 0)
    async with running.client("?client=admin") as admin, running.client() as user:
        await server.close()
        assert [await code(admin), await code(user)] == [1012, 1012]
