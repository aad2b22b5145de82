"""HTTP connections: aiohttp's request handler, adapted to this server.

Everything here leans on internals of aiohttp, checked against version 3.14.5.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from aionotify.http.responses import error_response

logger = logging.getLogger(__name__)

IDLE_TIMEOUT = 10.0
"""Seconds until a connection without a complete request head is closed."""

SERVER = "aionotify"
"""The `Server` header. That of aiohttp has its version and Python's, for attackers to look up."""

LINGERING_TIMEOUT = 1.0
"""How long to drain the body of a rejected request, in seconds."""

_CLIENT_ERRORS = (HttpProcessingError, web.RequestPayloadError, ConnectionError)
"""Exceptions in aiohttp's log that clients cause: malformed or aborted requests."""


class HttpProtocol(web.RequestHandler):
    """aiohttp's request handler with JSON error bodies, for errors outside our handlers.

    These are malformed requests, an unsupported `Expect`, and unhandled exceptions. For all of
    them aiohttp responds in plain text or HTML.
    """

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Log the error, and return `{"detail":…}` as the last response on this connection."""
        # aiohttp logs the exception, and raises ConnectionError if a response has already begun:
        # a second one behind half of the first would be taken for the rest of its body.
        response = super().handle_error(request, status, exc, message)
        if status == 400:
            response = error_response(400, _parser_message(message))
        elif isinstance(response, web.Response):
            response = error_response(status, response.reason or "")
        # It is unknown where a malformed request ends and the next one starts.
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send `resp`, with a JSON body if it is an error of aiohttp."""
        # aiohttp checks `Expect` before it calls the middlewares, so its 417 does not pass through
        # `errors_as_json` and arrives here as the exception that was raised.
        if isinstance(resp, web.HTTPError):
            resp = error_response(resp.status, resp.text or resp.reason)
        resp.headers["Server"] = SERVER
        return await super().finish_response(request, resp, start_time)


def connection_factory(server: web.Server) -> Callable[[], HttpProtocol]:
    """Return a function that creates the protocol of a new connection to `server`."""
    # aiohttp's runner always creates its own RequestHandler (`Server.__call__`), which cannot be
    # replaced, so the sockets are opened without its `SockSite`.
    server.request_factory = _default_target(server.request_factory)
    loop = asyncio.get_running_loop()

    def connect() -> HttpProtocol:
        return HttpProtocol(
            server,
            loop=loop,
            # Its lines would hold the query and with it tokens; `logs.py` logs requests instead.
            # aiohttp's documentation allows None, but its types do not.
            access_log=None,  # type: ignore[arg-type]
            # aiohttp decompresses a body even if nothing reads it: a few KiB become gigabytes.
            auto_decompress=False,
            # The timer starts with the connection and no byte restarts it, so it also closes
            # clients that send nothing, or a request head one byte at a time.
            keepalive_timeout=IDLE_TIMEOUT,
            # Closing with unread data resets the connection, and the client might not see its 413
            # (RFC 9112 §9.6). The default of 10 s would let it keep the connection for longer.
            lingering_time=LINGERING_TIMEOUT,
        )

    return connect


def drop_malformed_requests() -> None:
    """Keep malformed and aborted requests out of the log of aiohttp, for the whole process."""
    # Adding the same function twice has no effect, so several servers in one process are fine.
    logging.getLogger("aiohttp.server").addFilter(_drop_malformed_requests)


def _drop_malformed_requests(record: logging.LogRecord) -> bool:
    """Drop aiohttp's tracebacks of malformed and aborted requests.

    They flood the log, and they quote the request, which may hold a token.
    """
    error = record.exc_info[1] if record.exc_info else None
    # For an `Expect` that is not UTF-8, aiohttp quotes the value in the text of its 417, and fails
    # to encode it. Only this text tells such a UnicodeEncodeError from one of ours.
    bad_expect = isinstance(error, UnicodeEncodeError) and error.object.startswith("Unknown Expect")
    if not bad_expect and not isinstance(error, _CLIENT_ERRORS):
        return True
    logger.debug("malformed or aborted request (%s)", type(error).__name__)
    return False


def _default_target(make_request: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Work around aiohttp leaving `CONNECT` without a target unanswered.

    Such a request has no URL. Creating the request then raises outside of the `try` in
    `RequestHandler.start`, which ends its task: nothing responds, and nothing closes the
    connection. With `/` as its target, it gets a 405.
    """

    def request(message: Any, *arguments: Any) -> web.BaseRequest:
        if message.url is None:
            message = message._replace(url=URL("/"))
        return make_request(message, *arguments)

    return request


def _parser_message(message: str | None) -> str:
    """Return the parser's message as a sentence, without the excerpt of the request in it."""
    # Messages end in an excerpt, on the same line ("… when reading: b'GET /'") or on the next ones
    # ("Invalid header token:\n\n  b'GET /'\n   ^"). It may hold a token, and clients log errors.
    problem = (message or "").partition("\n")[0].partition(": ")[0].rstrip(":. ")
    return f"Malformed HTTP request ({problem or 'bad request'})."
