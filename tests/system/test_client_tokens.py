"""`aionotify.client` with tokens that expire: from a function, renewed, refused."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import WSMsgType, web

from aionotify.client import Refused, listen, publish, renewal
from tests.support import eventually, running_server
from tests.support.environment import without_memcached
from tests.support.listener import listening
from tests.support.peer import Script, notification_frame, running_peer, sends

pytestmark = pytest.mark.usefixtures("impatient")

ADMIN, USER, NEXT_USER = "token-of-an-admin", "token-of-a-user-1", "token-of-a-user-2"
TOKENS = {"AIONOTIFY_ADMIN_TOKEN": ADMIN, "AIONOTIFY_USER_TOKEN": USER}


class Login:
    """A function that raises `errors`, and then returns tokens with the number of the call."""

    def __init__(self, *errors: Exception) -> None:
        self._calls = 0
        self._errors = [*errors]

    async def __call__(self) -> str:
        self._calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return f"token {self._calls}"


def expiring(seconds: float, kind: str = "subscribed") -> str:
    """Return a frame that says in how many seconds the token expires."""
    expires = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    return json.dumps({"type": kind, "id": "5", "topics": ["main"], "expires": expires})


def closes(code: int) -> Script:
    """Return a script that sends a notification, and closes with `code`."""

    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_str(notification_frame("Hello"))
        await ws.close(code=code, message=b"the token expired")

    return script


def stays(*frames: str) -> Script:
    """Return a script that sends `frames`, and waits for the end of the connection."""

    async def script(ws: web.WebSocketResponse) -> None:
        for frame in frames:
            await ws.send_str(frame)
        await ws.receive()

    return script


async def test_function_is_called_before_each_connection() -> None:
    """It may be `async`, or not."""
    numbers = iter("12")
    for login in (Login(), lambda: f"token {next(numbers)}"):
        async with (
            running_peer(sends(), stays()) as peer,
            listening(peer.url, token=login) as listener,
        ):
            await listener.connects(2)
        assert peer.tokens == ["token 1", "token 2"]


async def test_expired_token_is_replaced() -> None:
    """The server closes with 3000; the next connection resumes with a new token."""
    async with (
        running_peer(closes(3000), stays(notification_frame("b", 6))) as peer,
        listening(peer.url, token=Login()) as listener,
    ):
        await listener.receives("Hello", "b")
    assert listener.reasons == ["closed by the server (3000: the token expired)"]
    assert peer.tokens == ["token 1", "token 2"]
    assert peer.queries[1]["since"] == "5"


async def test_refused_token_is_replaced_once() -> None:
    """It may have expired since it was made; two in a row are wrong."""
    async with running_peer(closes(3000), 401, closes(3000), 401, 401, stays()) as peer:
        events = listen(peer.url, token=Login())
        for _ in range(2):
            await anext(events)
        with pytest.raises(Refused, match="401"):
            await anext(events)
    assert peer.tokens == [f"token {number}" for number in range(1, 6)]


@pytest.mark.parametrize("status", [401, 403])
async def test_first_refusal_is_final(status: int) -> None:
    async with running_peer(status, stays()) as peer:
        with pytest.raises(Refused, match=f"{status}"):
            await anext(listen(peer.url, token=Login()))
        assert len(peer.tokens) == 1


@pytest.mark.parametrize(("token", "status"), [("fixed", 401), (Login(), 403)])
async def test_refusal_that_no_call_would_change_is_final(token: str | Login, status: int) -> None:
    """A string stays what it is, and a function returns the scopes that it has."""
    async with running_peer(closes(3000), status, stays()) as peer:
        events = listen(peer.url, token=token)
        await anext(events)
        with pytest.raises(Refused, match=f"{status}"):
            await anext(events)


async def test_temporary_error_of_the_function_is_retried() -> None:
    login = Login(ConnectionRefusedError("the login is down"), TimeoutError())
    async with (
        running_peer(stays(notification_frame("Hello"))) as peer,
        listening(peer.url, token=login) as listener,
    ):
        await listener.receives("Hello")
    assert listener.reasons == ["no token: the login is down", "no token: TimeoutError"]


async def test_other_error_of_the_function_is_raised() -> None:
    async with running_peer(stays()) as peer:
        with pytest.raises(KeyError):
            await anext(listen(peer.url, token=Login(KeyError("token"))))


async def test_token_is_renewed_on_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than once, and also while the caller is busy; the connection stays."""
    monkeypatch.setattr(renewal, "MIN_WAIT", 0.01)
    frames: list[object] = []

    async def renews(ws: web.WebSocketResponse) -> None:
        await ws.send_str(expiring(0))
        await ws.send_str(notification_frame("a", 6))
        frames.append(await ws.receive_json())
        await ws.send_str(expiring(0, "authorized"))
        frames.append(await ws.receive_json())
        await ws.send_str(expiring(1000, "authorized"))
        await ws.send_str(notification_frame("b", 7))
        frames.append((await ws.receive()).type)

    states: list[object] = []
    async with running_peer(renews) as peer:
        events = listen(peer.url, token=Login(), on_state=states.append)
        await anext(events)
        await eventually(lambda: len(frames) == 1)
        await anext(events)
        assert len(states) == 1
        await events.aclose()
        await eventually(lambda: len(frames) == 3)
    assert frames == [{"token": "token 2"}, {"token": "token 3"}, WSMsgType.CLOSE]
    assert peer.tokens == ["token 1"]


async def test_clock_of_the_server_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of this machine, which is a day behind, there is no need to renew the token."""

    class Behind(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) - timedelta(days=1)

    frames: list[object] = []

    async def script(ws: web.WebSocketResponse) -> None:
        await ws.send_str(expiring(1.2))
        frames.append(await ws.receive_json())
        await ws.send_str(expiring(1000, "authorized"))
        await ws.send_str(notification_frame("Hello"))
        frames.append((await ws.receive()).type)

    monkeypatch.setattr(renewal, "datetime", Behind)
    monkeypatch.setattr(renewal, "MIN_WAIT", 0.01)
    async with running_peer(script) as peer, listening(peer.url, token=Login()) as listener:
        await listener.receives("Hello")
        assert frames == [{"token": "token 2"}]


async def test_refused_renewal_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The connection lasts until the old token expires."""
    refusal = '{"type":"error","detail":"The token is for another user."}'
    async with (
        running_peer(stays(refusal, notification_frame("Hello"))) as peer,
        listening(peer.url, token=Login()) as listener,
    ):
        await listener.receives("Hello")
    told = "the server does not accept the new token: The token is for another user."
    assert told in caplog.messages


async def test_function_of_a_publisher_is_called() -> None:
    async with running_server(without_memcached(**TOKENS)) as server:
        assert (await publish(server.url, "Hello", token=lambda: ADMIN)).message == "Hello"
        with pytest.raises(Refused, match="401"):
            await publish(server.url, "Hello", token=Login())


async def test_server_with_other_tokens_is_followed() -> None:
    """The function returns the old one once more, as one that keeps it for a while."""
    known = [USER]

    def login() -> str:
        return known.pop(0) if len(known) > 1 else known[0]

    async with (
        running_server(without_memcached(**TOKENS)) as server,
        listening(server.url, token=login) as listener,
    ):
        await listener.connects(1)
        await server.stop()
        await listener.is_told("Cannot connect")
        known.append(NEXT_USER)
        changed = without_memcached(**TOKENS | {"AIONOTIFY_USER_TOKEN": NEXT_USER})
        async with running_server(changed, "--port", f"{server.port}") as other:
            await listener.connects(2)
            await publish(other.url, "Hello", token=ADMIN)
            await listener.receives("Hello")
