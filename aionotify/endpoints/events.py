"""`GET /events`: notifications as server-sent events (WHATWG HTML §9.2)."""

from aiohttp import web

from aionotify.access import Access
from aionotify.eventstream import HEADERS, EventStream, head
from aionotify.http import query
from aionotify.http.hijack import subscribe
from aionotify.notifier import Notifier
from aionotify.settings import Settings


class Events:
    """Streams that a browser's EventSource understands, and resumes by itself."""

    def __init__(self, notifier: Notifier, settings: Settings, access: Access) -> None:
        self._notifier = notifier
        self._access = access
        self._settings = settings

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """`GET /events[?topic=][&since=]`, or with the header Last-Event-ID."""
        topic, since = query.topic(request), query.last_seen(request)
        if request.method == "HEAD":
            response = web.Response(headers=HEADERS)
            response.force_close()
            return response
        subscriber = EventStream(self._settings.stall_timeout, self._settings.heartbeat)
        subscriber.client_address = self._access.client_address(request)
        start = head(self._access.cors_headers(request))
        return await subscribe(request, self._notifier, topic, subscriber, start, since)
