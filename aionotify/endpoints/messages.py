"""`GET /messages`: recent notifications as plain text, in the format of the FastAPI version."""

from aiohttp import web

from aionotify.http.query import parse_topic
from aionotify.http.responses import json_response
from aionotify.keys import NOTIFIER


async def recent(request: web.Request) -> web.Response:
    """Answer `GET /messages[?topic=]` with the messages alone, oldest first."""
    page = await request.app[NOTIFIER].recent([parse_topic(request)])
    return json_response({"recent_messages": [each.message for each in page.notifications]})
