"""Publish: one request, repeated until it is answered, for one notification."""

import asyncio
import io
import json
import uuid
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from aionotify.client.backoff import Backoff
from aionotify.client.connection import Refused, endpoint, open_session
from aionotify.client.events import Notification, parse
from aionotify.client.tokens import Token, authorization, current_token

TEMPORARY = (502, 503, 504)
"""Statuses of a server that stops, and of a proxy whose server is not there."""


async def publish(
    server: str,
    message: str,
    topic: str = "main",
    *,
    title: str | None = None,
    url: str | None = None,
    tag: str | None = None,
    data: Any = None,
    key: str | None = None,
    token: Token | None = None,
    timeout: float = 15.0,
) -> Notification:
    """Publish `message`, and return the notification once the server has stored it.

    `server` and `token` are the same as for `listen`. `title`, `url`, `tag` and `data` belong to
    the notification; None leaves a field out.

    If the connection fails, or on 502, 503 and 504, the request is repeated for `timeout` seconds
    with the same key: a server publishes a key once in ten minutes, unless it was restarted in
    between and has forgotten it. Pass a `key` of your own, such as the number of an order, to
    publish once even if your program is started again; otherwise it is random.

    Raise Refused if the server refuses the request, and ValueError if it is not an aionotify
    server. Raise aiohttp.ClientError, OSError or Refused, the last failure, if there is no other
    answer within `timeout` seconds: the message may have been published all the same.
    """
    if "," in topic:
        raise ValueError(f"topic: invalid value {topic!r} (expected a single topic)")
    address = endpoint(server, "notifications", topic=topic)
    fields = {"title": title, "url": url, "tag": tag, "data": data}
    given = {name: value for name, value in fields.items() if value is not None}
    request = _Request(address, json.dumps({"message": message, **given}), key or uuid.uuid4().hex)
    notification = parse(await request.send(token, timeout))
    if not isinstance(notification, Notification):
        raise ValueError(f"{server} is not the address of an aionotify server")
    return notification


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that publishes a notification once, however often it is sent."""

    address: URL
    body: str
    key: str

    async def send(self, token: Token | None, timeout: float) -> str:
        """Return the first answer that is final, or raise the last failure."""
        backoff = Backoff()
        failure: Exception | None = None
        try:
            # aiohttp 3.14.5 would take a cancellation at its own time-out for that alone, and the
            # loop would go on: there is only one.
            async with asyncio.timeout(timeout), open_session(None) as session:
                while True:
                    try:
                        # From here on a string: keys belong to a sender, and the server knows a
                        # sender by its token, so all attempts need the same one.
                        token = await current_token(token, timeout)
                        return await self._post(session, token)
                    except Refused as refused:
                        if refused.status not in TEMPORARY:
                            raise
                        failure = refused
                    except (aiohttp.ClientError, OSError) as error:
                        failure = error
                    await asyncio.sleep(backoff.next())
        except TimeoutError:
            if failure is None:
                raise
            raise failure from None

    async def _post(self, session: aiohttp.ClientSession, token: str | None) -> str:
        # aiohttp 3.14.5 would follow 301 and 302, such as those to https, with a GET. It warns of
        # bytes above 1 MiB, which are written in one piece, but not of a file.
        async with session.post(
            self.address,
            data=io.BytesIO(self.body.encode()),
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": _structured_string(self.key),
                **authorization(token),
            },
            allow_redirects=False,
        ) as response:
            return await response.text()


def _structured_string(text: str) -> str:
    """Return `text` as a string of structured fields (RFC 9651 §3.3.3)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
