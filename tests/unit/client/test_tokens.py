"""Tokens, and functions that return them."""

import asyncio

import pytest

from aionotify.client.tokens import Token, authorization, current_token


async def promised() -> str:
    return "promised"


@pytest.mark.parametrize(
    ("token", "current"),
    [
        (None, None),
        ("fixed", "fixed"),
        (lambda: "made", "made"),
        (promised, "promised"),
        (lambda: promised(), "promised"),
    ],
)
async def test_token_is_current(token: Token | None, current: str | None) -> None:
    assert await current_token(token, 1) == current


async def test_slow_function_times_out() -> None:
    async def hangs() -> str:
        return str(await asyncio.Event().wait())

    with pytest.raises(TimeoutError):
        await current_token(hangs, 0.01)


async def test_error_of_the_function_is_raised() -> None:
    def fails() -> str:
        raise KeyError("token")

    with pytest.raises(KeyError):
        await current_token(fails, 1)


def test_token_is_a_header() -> None:
    assert authorization("a") == {"Authorization": "Bearer a"}
    assert authorization(None) == authorization("") == {}
