"""`aionotify.client.listen` with JWTs that live for seconds, against our server."""

import time
from collections.abc import AsyncIterator

import jwt
import pytest

from aionotify.client import Refused, listen, publish, renewal
from tests.support import ServerProcess, eventually, running_server
from tests.support.environment import without_memcached
from tests.support.listener import listening

pytestmark = pytest.mark.usefixtures("impatient")

SECRET = "a-secret-of-32-bytes-or-more-0123456789"


class Login:
    """A function that returns JWTs of two to three seconds, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        return signed("subscribe:user.42", 3)


def signed(scope: str, seconds: int) -> str:
    """Return a JWT of the user 42."""
    claims = {"sub": "42", "scope": scope, "exp": int(time.time()) + seconds}
    return jwt.encode(claims, SECRET, "HS256")


@pytest.fixture
async def server() -> AsyncIterator[ServerProcess]:
    async with running_server(without_memcached(AIONOTIFY_JWT_SECRET=SECRET)) as process:
        yield process


async def test_connection_outlives_its_first_token(server: ServerProcess) -> None:
    login = Login()
    async with listening(server.url, topics="user.42", token=login) as listener:
        await eventually(lambda: login.calls == 4, 20, "the token is renewed three times")
        await publish(server.url, "Hello", "user.42", token=signed("publish:*", 60))
        await listener.receives("Hello")
    assert [f"{each}" for each in listener.states] == ["connected"]


async def test_token_that_is_not_renewed_in_time_misses_nothing(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "FRACTION", 10)
    publisher = signed("publish:*", 60)
    async with listening(server.url, topics="user.42", token=Login()) as listener:
        await listener.connects(1)
        await publish(server.url, "a", "user.42", token=publisher)
        await listener.is_told("closed by the server (3000")
        await publish(server.url, "b", "user.42", token=publisher)
        await listener.receives("a", "b")
    assert listener.gaps == []


async def test_fixed_token_ends_with_its_refusal(server: ServerProcess) -> None:
    """The server closes with 3000, and does not accept it again."""
    with pytest.raises(Refused, match="401"):
        async for _ in listen(server.url, "user.42", token=signed("subscribe:user.42", 2)):
            pass
