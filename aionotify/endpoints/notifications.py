"""`/notifications`: publish with POST, poll with GET."""

from aiohttp import web

from aionotify.encoders import to_json
from aionotify.http.body import read_message
from aionotify.http.query import MAX_TOPICS, parse_since, parse_topic, parse_topics
from aionotify.http.responses import encoded_response
from aionotify.keys import NOTIFIER, SETTINGS
from aionotify.yielding import yielding


async def publish(request: web.Request) -> web.Response:
    """Answer `POST /notifications[?topic=]` with the notification, once it is stored."""
    topic = parse_topic(request)
    message = await read_message(request, request.app[SETTINGS].max_message_bytes)
    notification = await request.app[NOTIFIER].publish(
        message.text, topic, message.fields, wait_stored=True
    )
    return encoded_response(to_json(notification), 201)


async def poll(request: web.Request) -> web.Response:
    """Answer `GET /notifications[?topic=][&since=]` with the recent ones, or all after an id."""
    notifier = request.app[NOTIFIER]
    topics, since = parse_topics(request, MAX_TOPICS), parse_since(request)
    if since is None:
        page = await notifier.recent(topics)
    else:
        page = await notifier.since(topics, since)
    # By hand, because `to_json` encodes one notification, the same in every format, and because a
    # thousand of them in one call of json.dumps would stop the event loop.
    entries = [to_json(each) async for each in yielding(page.notifications)]
    complete = b"true" if page.complete else b"false"
    more = b',"more":true' if page.more else b""
    body = b'{"notifications":[%b],"complete":%b,"id":"%d"%b}'
    # Varnish keeps a response without Cache-Control for two minutes.
    headers = {"Cache-Control": "no-store"}
    return encoded_response(body % (b",".join(entries), complete, page.id, more), headers=headers)
