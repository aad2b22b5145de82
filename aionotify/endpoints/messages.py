"""`GET /messages`: the recents as texts."""

from aiohttp import web

from aionotify.http import query
from aionotify.http.responses import json_response
from aionotify.notifier import Notifier


class Messages:
    """The recents, in the FastAPI version's format."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    async def recent(self, request: web.Request) -> web.Response:
        """`GET /messages[?topic=]`: texts only, oldest first."""
        recents = (await self._notifier.recent(query.topic(request))).notifications
        return json_response({"recent_messages": [each.message for each in recents]})
