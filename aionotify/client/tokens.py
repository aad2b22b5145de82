"""The token of a client: a string, or a function that returns a new one."""

import asyncio
from collections.abc import Awaitable, Callable

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or a function that returns one, now or when it is awaited."""


async def current_token(token: Token | None, timeout: float) -> str | None:
    """Return `token`, or the result of the function, for which it has `timeout` seconds.

    Raise TimeoutError, and whatever the function raises.
    """
    if token is None or isinstance(token, str):
        return token
    async with asyncio.timeout(timeout):
        made = token()
        return made if isinstance(made, str) else await made


def authorization(token: str | None) -> dict[str, str]:
    """Return the headers of a request with `token`."""
    # In the header, and never in the URL: URLs end up in the logs of proxies.
    return {"Authorization": f"Bearer {token}"} if token else {}
