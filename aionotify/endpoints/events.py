"""`GET /events`: notifications as server-sent events (WHATWG HTML §9.2)."""

from aiohttp import HttpVersion11, web

from aionotify.eventstream import EventStream
from aionotify.expiry import ExpiringEventStream
from aionotify.http.heads import EVENT_STREAM_HEADERS, event_stream
from aionotify.http.hijack import subscribe
from aionotify.http.query import event_stream_request
from aionotify.keys import ACCESS, EXPIRY, NOTIFIER, SETTINGS


async def stream(request: web.Request) -> web.StreamResponse:
    """Answer `GET /events[?topic=][&since=]`, or with the header Last-Event-ID."""
    access, settings = request.app[ACCESS], request.app[SETTINGS]
    grant = access.lasting_grant(request)
    wanted = event_stream_request(request, access.client_address(request))
    if request.method == "HEAD":
        response = web.Response(headers=EVENT_STREAM_HEADERS)
        # The headers promise to close the connection; aiohttp 3.14.5 does not do it for them.
        response.force_close()
        return response
    chunked = request.version >= HttpVersion11
    subscriber = (
        EventStream(settings.stall_timeout, chunked=chunked)
        if grant is None
        else ExpiringEventStream(
            grant, request.app[EXPIRY], settings.stall_timeout, chunked=chunked
        )
    )
    # The middleware `cors` cannot add its headers here: the head is sent before it sees a response.
    head = event_stream(access.cors_headers(request), chunked=chunked)
    return await subscribe(request, request.app[NOTIFIER], wanted, subscriber, head)
