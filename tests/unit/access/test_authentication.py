"""Which of several tokens counts, and what a request without one may do."""

from typing import Any

import pytest

from aionotify.access.authentication import Authenticator
from aionotify.errors import InvalidToken, Unavailable
from aionotify.grants import ALL_TOPICS, NO_TOPICS, Grant
from aionotify.settings import Settings
from tests.support.access import ADMIN, USER, WRONG
from tests.support.jwts import SECRET, token

JWT: dict[str, Any] = {"jwt_secrets": (SECRET,)}


@pytest.mark.parametrize(
    ("settings", "publish", "subscribe"),
    [
        (Settings(), True, True),
        (Settings(admin_tokens=(ADMIN,)), False, True),
        (Settings(user_tokens=(USER,)), True, False),
        (Settings(admin_tokens=(ADMIN,), user_tokens=(USER,)), False, False),
        (Settings(**JWT), False, False),
        (Settings(admin_tokens=(ADMIN,), **JWT), False, False),
        (Settings(user_tokens=(USER,), **JWT), False, False),
    ],
)
async def test_settings_decide_what_is_open(
    settings: Settings, publish: bool, subscribe: bool
) -> None:
    """A static token closes its own half; a key for JWTs closes everything."""
    authenticator = Authenticator(settings)
    for tokens in ([], [WRONG]):
        grant = (await authenticator.identify(tokens)).grant
        assert (grant.may_publish("x"), grant.may_subscribe("x")) == (publish, subscribe)


async def test_static_tokens_become_grants() -> None:
    authenticator = Authenticator(Settings(admin_tokens=(ADMIN,), user_tokens=(USER,), **JWT))
    assert (await authenticator.identify([ADMIN])).grant == Grant(ALL_TOPICS, ALL_TOPICS)
    assert (await authenticator.identify([USER])).grant == Grant(NO_TOPICS, ALL_TOPICS)


async def test_first_valid_token_decides() -> None:
    authenticator = Authenticator(Settings(admin_tokens=(ADMIN,), user_tokens=(USER,), **JWT))
    one, two = token("subscribe:one"), token("subscribe:two")
    expired = token("subscribe:*", exp=1)
    for tokens, subject in (
        ([one, two], "subscribe:one"),
        ([WRONG, expired, two, one], "subscribe:two"),
        ([expired, one], "subscribe:one"),
    ):
        identity = await authenticator.identify(tokens)
        assert identity.problem is None
        assert [f"subscribe:{name}" for name in identity.grant.subscribe.names] == [subject]
    assert (await authenticator.identify([one, USER])).grant == Grant(NO_TOPICS, ALL_TOPICS)
    assert (await authenticator.identify([one, USER, ADMIN])).grant.may_publish("x")


async def test_problem_is_that_of_the_first_token() -> None:
    identity = await Authenticator(Settings(**JWT)).identify([token(exp=None), WRONG])
    assert identity.problem == "it has no exp, so it would be valid forever"
    assert identity.grant == Grant(NO_TOPICS, NO_TOPICS)


async def test_jwt_without_key_is_refused() -> None:
    with pytest.raises(InvalidToken, match="no key for JWTs"):
        await Authenticator(Settings(admin_tokens=(ADMIN,))).verify(token())


async def test_jwt_before_the_first_keys_is_unavailable() -> None:
    """Static tokens need no keys."""
    url = "http://127.0.0.1:1/jwks.json"
    settings = Settings(
        admin_tokens=(ADMIN,), jwt_jwks=url, jwt_issuer="https://id", jwt_audience="a"
    )
    authenticator = Authenticator(settings)
    await authenticator.start()
    assert (await authenticator.identify([ADMIN])).grant.may_publish("x")
    with pytest.raises(Unavailable):
        await authenticator.identify([token()])
    assert (await authenticator.identify([])).problem is None
    await authenticator.stop()
