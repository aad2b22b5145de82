"""HTTP connections: aiohttp's request handler, adapted to this server.

Everything here leans on internals of aiohttp, checked against version 3.14.5.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import BadHttpMessage, ContentLengthError
from aiohttp.web_protocol import _ErrInfo
from yarl import URL

from aionotify.errors import Stopping
from aionotify.http.malformed import MAX_FIELD, MAX_FIELDS, MAX_TARGET, malformed_response
from aionotify.http.responses import error_response
from aionotify.net import peer_address
from aionotify.stall import StallTimer
from aionotify.stats import DisconnectReason, Stats

HEAD_TIMEOUT = 10.0
"""Seconds in which the first request head of a connection must arrive."""

SERVER = "aionotify"
"""The `Server` header. That of aiohttp has its version and Python's, for attackers to look up."""

LINGERING_TIMEOUT = 1.0
"""How long to drain the body of a rejected request, in seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What every connection of a server obeys, and where it is counted."""

    keepalive_timeout: float
    """Seconds that a connection may be idle after a response."""

    stall_timeout: float
    """Seconds in which a client must accept at least one byte of a response."""

    stats: Stats


class HttpProtocol(web.RequestHandler):
    """aiohttp's request handler, which answers every request that it has received.

    aiohttp alone forgets requests when the client or the server ends the connection, waits for
    clients that read nothing for ever, and answers errors outside our handlers (malformed requests,
    an unsupported `Expect`, unhandled exceptions) in plain text or HTML.
    """

    __slots__ = ("_answered", "_ending", "_limits", "_malformed", "_stall_timer", "half_closed")

    def __init__(self, server: web.Server, limits: Limits) -> None:
        """Create the protocol of a new connection to `server`."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            # Its lines would hold the query and with it tokens; `logs.py` logs requests instead.
            # aiohttp's documentation allows None, but its types do not.
            access_log=None,  # type: ignore[arg-type]
            # aiohttp decompresses a body even if nothing reads it: a few KiB become gigabytes.
            auto_decompress=False,
            keepalive_timeout=limits.keepalive_timeout,
            max_line_size=MAX_TARGET,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            # Closing with unread data resets the connection, and the client might not see its 413
            # (RFC 9112 §9.6). The default of 10 s would let it keep the connection for longer.
            lingering_time=LINGERING_TIMEOUT,
        )
        self._limits = limits
        self._stall_timer: StallTimer | None = None
        self._answered = 0
        self._ending = False
        self._malformed = False
        self.half_closed = False
        """Whether the client sends nothing more, but may still read."""

    @property
    def _busy(self) -> bool:
        """Whether a request has been received and not answered yet."""
        # Counted, because between two of its tasks aiohttp 3.14.5 has the request nowhere.
        return self._request_count > self._answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over `transport`, and give the client `HEAD_TIMEOUT` seconds for its first head."""
        super().connection_made(transport)
        assert self.transport is not None
        # With a limit of 0, every byte that the kernel does not take at once pauses writing, and
        # starts the stall timer. Below the default limit of 64 KiB, nothing would notice.
        self.transport.set_write_buffer_limits(high=0)
        # The timer starts with the connection and no byte restarts it, so it also closes clients
        # that send nothing, or a request head one byte at a time. After a response, aiohttp starts
        # it anew with the keep-alive time-out.
        assert self._keepalive_handle is not None
        self._keepalive_handle.cancel()
        self._next_keepalive_close_time = self._loop.time() + HEAD_TIMEOUT
        self._keepalive_handle = self._loop.call_at(
            self._next_keepalive_close_time, self._process_keepalive
        )

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection. `hijack` calls this as well, when a subscriber takes it over."""
        self._cancel_stall_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read requests, up to the first malformed one: nothing after it is a request."""
        # aiohttp 3.14.5 parses again whenever it resumes reading, and queues the same error each
        # time, with its traceback: 24 MiB for a chunked body of 120 KB with a malformed end.
        if self._malformed:
            return
        super().data_received(data)
        if not self._messages or not isinstance(self._messages[-1][0], _ErrInfo):
            return
        self._malformed = True
        body = self._unfinished_body()
        if body is not None:
            # aiohttp would answer the error as if it were a request of its own, and let the reader
            # of the body wait until its time is over.
            self._messages.pop()
            self._request_count -= 1
            self._ending = True
            body.set_exception(BadHttpMessage("malformed"))

    def pause_writing(self) -> None:
        """Watch the client: the kernel did not take everything of a response."""
        super().pause_writing()
        assert self.transport is not None
        # Until `resume_writing`, whatever a check finds.
        self._stall_timer = StallTimer(self.transport, self._limits.stall_timeout, self._on_stall)

    def resume_writing(self) -> None:
        """Continue: the transport's buffer is empty again."""
        self._cancel_stall_timer()
        super().resume_writing()

    # asyncio's own signature is `bool | None`.
    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection of a half-closed client until its requests are answered."""
        # For example `nc -N`, and HTTP/1.0 clients that mark the end of a request so. aiohttp
        # alone would publish the notification, and close the connection without the 201.
        if not self._busy:
            return False
        self.half_closed = self._ending = True
        # In the next turn, when the request is sure to have its task.
        error = ContentLengthError("The connection ended within the body.")
        self._loop.call_soon(self._fail_body, error)
        return True

    def close(self) -> None:
        """Close the connection once every request that has arrived is answered.

        aiohttp calls this when the server stops, and to break a connection off after a response.
        """
        if self._busy:
            # Not aiohttp's `close`: it discards all further input, and so the rest of a body.
            self._ending = True
            return
        super().close()
        # aiohttp leaves an idle connection open until all others are finished, and ignores requests
        # on it meanwhile.
        if self.transport is not None:
            self.transport.close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """End the connection within `timeout` seconds: the server has nothing else to wait for."""
        self._fail_body(Stopping())
        await super().shutdown(timeout)

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
            response = malformed_response(exc, message)
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
        if self._ending and not self._messages:
            resp.force_close()
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._answered += 1
            # The time of `shutdown` was over in the same turn of the loop. aiohttp 3.14.5 would set
            # the result of its canceled future, and log a traceback for a request that is answered.
            if self._handler_waiter is not None and self._handler_waiter.done():
                self._handler_waiter = None

    def _fail_body(self, error: Exception) -> None:
        """Let the reader of a body that has not arrived completely fail with `error`."""
        body = self._unfinished_body()
        if body is not None:
            body.set_exception(error)

    def _unfinished_body(self) -> StreamReader | None:
        """Return the body that has not arrived completely: that of the last request."""
        requests = (each for each in reversed(self._messages) if not isinstance(each[0], _ErrInfo))
        body = next((body for _, body in requests), None)
        if body is None and self._current_request is not None:
            body = self._current_request.content
        return None if body is None or body.is_eof() else body

    def _on_stall(self) -> None:
        assert self.transport is not None
        stats, timeout = self._limits.stats, self._limits.stall_timeout
        stats.disconnected[DisconnectReason.STALLED] += 1
        address = peer_address(self.transport)
        line = f"disconnected client {address}: no data accepted for {timeout:g} s"
        stats.incidents.report(DisconnectReason.STALLED, line)
        self.transport.abort()

    def _cancel_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def connection_factory(server: web.Server, limits: Limits) -> Callable[[], HttpProtocol]:
    """Return a function that creates the protocol of a new connection to `server`."""
    # aiohttp's runner always creates its own RequestHandler (`Server.__call__`), which cannot be
    # replaced, so the sockets are opened without its `SockSite`.
    server.request_factory = _default_target(server.request_factory)
    return partial(HttpProtocol, server, limits)


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
