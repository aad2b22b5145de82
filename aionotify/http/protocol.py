"""One HTTP connection: what aiohttp answers by itself, in place of a handler, is JSON too."""

from aiohttp import web

from aionotify.http.responses import error_response


class HttpProtocol(web.RequestHandler):
    """aiohttp's own, but for its error pages, which are plain text or HTML.

    They are for what comes before any handler, as a request that is no HTTP or one that expects
    what is not to be had, and for what a handler did not expect itself, which is logged with its
    traceback.
    """

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Log what happened, answer `{"detail":…}`, and end the connection."""
        response = super().handle_error(request, status, exc, message)
        if status == 400:
            response = error_response(400, _first_line(message))
        elif isinstance(response, web.Response):
            response = error_response(status, response.reason or "")
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send `resp`."""
        if isinstance(resp, web.HTTPError):
            resp = error_response(resp.status, resp.text or resp.reason)
        return await super().finish_response(request, resp, start_time)


def _first_line(message: str | None) -> str:
    """What the parser found wrong, without the excerpt of the request that follows it."""
    problem = (message or "").partition("\n")[0].partition(": ")[0].rstrip(":. ")
    return f"This is no HTTP request that can be understood ({problem or 'bad request'})."
