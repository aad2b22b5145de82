"""`/notifications`: publish with POST, poll with GET."""

import asyncio
import json

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from aionotify.encoders import to_json
from aionotify.errors import InvalidRequest, MessageTooBig
from aionotify.http import query
from aionotify.http.responses import error_response
from aionotify.notification import Notification
from aionotify.notifier import Notifier

BODY_TIMEOUT = 10.0
"""Seconds in which a body is to arrive."""

ESCAPED = 6
"""Bytes that JSON may need for one: `\\u0000`."""

AROUND = 1024
"""Bytes that may stand around a message: white space, and what else an object has in it."""

AT_ONCE = 100
"""Notifications that are encoded before the event loop goes on to others."""


class Notifications:
    """Notifications as objects, over plain HTTP."""

    def __init__(self, notifier: Notifier, max_message_bytes: int) -> None:
        self._notifier = notifier
        self._max_message_bytes = max_message_bytes

    async def publish(self, request: web.Request) -> web.Response:
        """`POST /notifications[?topic=]`: 201 and the notification, once it is in the recents."""
        topic = query.topic(request)
        is_json = request.content_type == "application/json"
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await self._body(request, is_json)
        except TimeoutError:
            response = error_response(408, f"The body did not arrive within {BODY_TIMEOUT:g} s.")
            response.force_close()
            return response
        notification = await self._notifier.publish(
            message_of(body, is_json), topic, wait_stored=True
        )
        return _answer(to_json(notification), 201)

    async def retained(self, request: web.Request) -> web.Response:
        """`GET /notifications[?topic=][&since=]`: the recents, or all that came after an id."""
        topic, since = query.topic(request), query.since(request)
        if since is None:
            page = await self._notifier.recent(topic)
        else:
            page = await self._notifier.since(topic, since)
        entries = b",".join(await _encoded(page.notifications))
        complete = b"true" if page.complete else b"false"
        more = b',"more":true' if page.more else b""
        body = b'{"notifications":[%b],"complete":%b,"id":"%d"%b}'
        return _answer(body % (entries, complete, page.id, more))

    async def _body(self, request: web.Request, is_json: bool) -> bytes:
        """The whole of it, but never much more than a message can have. Raises InvalidRequest."""
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise InvalidRequest("A body is accepted without Content-Encoding only.")
        limit = self._max_message_bytes * (ESCAPED if is_json else 1) + AROUND
        body = bytearray()
        try:
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise MessageTooBig(
                        f"The body is longer than the {limit} bytes that are accepted."
                    )
        except HttpProcessingError:
            raise InvalidRequest("The body is not what Transfer-Encoding says.") from None
        return bytes(body)


def message_of(body: bytes, is_json: bool) -> str:
    """The message that a body carries. Raises InvalidRequest."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8 ({error.reason}).") from None
    return message_in(text) if is_json else text


def message_in(text: str) -> str:
    """The message in `{"message":"…"}`. Raises InvalidRequest."""
    try:
        document = json.loads(text)
        message = document["message"]
        message.encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        message = None
    if not isinstance(message, str):
        raise InvalidRequest('Accepted is JSON like {"message":"Hello"}, with valid Unicode.')
    return message


async def _encoded(notifications: list[Notification]) -> list[bytes]:
    entries = []
    for number, each in enumerate(notifications, 1):
        entries.append(to_json(each))
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    return entries


def _answer(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
