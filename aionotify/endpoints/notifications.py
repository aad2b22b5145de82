"""`/notifications`: publish with POST, poll with GET."""

import asyncio
from collections.abc import Sequence
from functools import partial

from aiohttp import web

from aionotify.decoders import LINE_MEMBERS, Message, lines_of, message_from_json
from aionotify.encoders import to_json
from aionotify.errors import InvalidRequest, RequestError
from aionotify.http.body import Body, Format, read_body
from aionotify.http.query import (
    MAX_PUBLISH_TOPICS,
    MAX_TOPICS,
    parse_idempotency_key,
    parse_since,
    parse_topics,
)
from aionotify.http.responses import encoded_response
from aionotify.idempotency import Scope, fingerprint_of, keyed
from aionotify.keys import ACCESS, IDEMPOTENCY, NOTIFIER, SETTINGS
from aionotify.notification import Draft, Notification
from aionotify.notifier import Notifier
from aionotify.yielding import yielding

MAX_NOTIFICATIONS = 1000
"""Notifications that one request can publish."""

LINE_COST, SLICE_COST = 500, 50_000
"""Characters that count for a line beside its own, and those that are decoded before other work."""


async def publish(request: web.Request) -> web.Response:
    """Answer `POST /notifications[?topic=]` with the notifications, once they are stored."""
    topics = parse_topics(request, MAX_PUBLISH_TOPICS)
    notifier, key = request.app[NOTIFIER], parse_idempotency_key(request)
    body = await read_body(request, request.app[SETTINGS].max_message_bytes)
    if body.format is Format.LINES:
        drafts = await _lines(body.text, topics, notifier)
    else:
        drafts = _copies(body, topics, notifier)
    # Not before: only the lines of NDJSON name their topics.
    named = dict.fromkeys(each.topic for each in drafts)
    request.app[ACCESS].require_publisher(request, tuple(named))
    if key is None:
        published = await notifier.publish_all(drafts, wait_stored=True)
    elif body.format is Format.LINES:
        fingerprint = fingerprint_of(*drafts, with_topics=True)
        published = await _once(request, topics, key, fingerprint, drafts)
    else:
        published = await _once(request, topics, key, fingerprint_of(drafts[0]), drafts)
        # The first attempt may have named the topics in another order.
        published.sort(key=lambda each: topics.index(each.topic))
    if body.format is Format.LINES or len(topics) > 1:
        return encoded_response(b'{"notifications":[%b]}' % await _joined(published), 201)
    return encoded_response(to_json(published[0]), 201)


async def _once(
    request: web.Request,
    topics: Sequence[str],
    key: str,
    fingerprint: bytes,
    drafts: Sequence[Draft],
) -> list[Notification]:
    """Publish once, however often this request is repeated."""
    scope = Scope(request.app[ACCESS].sender(request), tuple(sorted(topics)), key)
    notifier = request.app[NOTIFIER]
    publish = partial(notifier.publish_all, keyed(drafts, scope), wait_stored=True)
    return [*await request.app[IDEMPOTENCY].once(scope, fingerprint, publish)]


def _copies(body: Body, topics: Sequence[str], notifier: Notifier) -> list[Draft]:
    """Return the message in a body for each of `topics`."""
    is_json = body.format is Format.JSON
    message = message_from_json(body.text) if is_json else Message(body.text)
    return [notifier.draft(message.text, topic, message.fields) for topic in topics]


async def _lines(text: str, topics: Sequence[str], notifier: Notifier) -> list[Draft]:
    """Return the message in each line, for the topic that it names, or for each of `topics`."""
    drafts: list[Draft] = []
    cost = 0
    for number, line in lines_of(text):
        try:
            message = message_from_json(line, LINE_MEMBERS)
            names = topics if message.topic is None else (message.topic,)
            drafts += [notifier.draft(message.text, name, message.fields) for name in names]
            if len(drafts) > MAX_NOTIFICATIONS:
                raise InvalidRequest(f"expected at most {MAX_NOTIFICATIONS} notifications")
        except RequestError as error:
            raise type(error)(f"line {number}: {error}") from None
        cost += (LINE_COST + len(line)) * len(names)
        if cost > SLICE_COST:
            cost = 0
            await asyncio.sleep(0)
    if not drafts:
        raise InvalidRequest('Expected lines like {"topic":"main","message":"Hello"}.')
    return drafts


async def poll(request: web.Request) -> web.Response:
    """Answer `GET /notifications[?topic=][&since=]` with the recent ones, or all after an id."""
    notifier = request.app[NOTIFIER]
    topics, since = parse_topics(request, MAX_TOPICS), parse_since(request)
    if since is None:
        page = await notifier.recent(topics)
    else:
        page = await notifier.since(topics, since)
    complete = b"true" if page.complete else b"false"
    more = b',"more":true' if page.more else b""
    body = b'{"notifications":[%b],"complete":%b,"id":"%d"%b}'
    entries = await _joined(page.notifications)
    # Varnish keeps a response without Cache-Control for two minutes.
    headers = {"Cache-Control": "no-store"}
    return encoded_response(body % (entries, complete, page.id, more), headers=headers)


async def _joined(notifications: Sequence[Notification]) -> bytes:
    """Return the JSON objects of `notifications`, separated by commas."""
    # By hand, because `to_json` encodes one notification, the same in every format, and because a
    # thousand of them in one call of json.dumps would stop the event loop.
    return b",".join([to_json(each) async for each in yielding(notifications)])
