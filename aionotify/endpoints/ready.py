"""An answer in one ready-made piece, for what is asked for all the time."""

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11


class ReadyJson(web.Response):
    """JSON with status 200, which reaches the client as any other `web.Response` would.

    Head and body are written at once, past aiohttp's preparation of headers, unless something
    asks for more: another method or version, a connection that is to be closed or that reads too
    slowly, headers that a middleware added, a signal that may add some.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__(body=body, content_type="application/json")
        self._bytes = body
        self._written = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write everything, or leave it to aiohttp."""
        transport = request.transport
        if transport is None or transport.get_write_buffer_size() or not self._suits(request):
            return await super().prepare(request)
        head = (
            "HTTP/1.1 200 OK\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(self._bytes)}\r\n"
            f"Date: {rfc822_formatted_time()}\r\n"
            f"Server: {SERVER_SOFTWARE}\r\n\r\n"
        )
        transport.write(head.encode() + self._bytes)
        self._written = True
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """The end, which may have been written already."""
        if not self._written:
            await super().write_eof(data)

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open."""
        return True if self._written else super().keep_alive

    def _suits(self, request: web.BaseRequest) -> bool:
        return (
            request.method == "GET"
            and request.version == HttpVersion11
            and request.keep_alive
            and self.status == 200
            and len(self.headers) == 1
            and not self.cookies
            and isinstance(request, web.Request)
            and not any(app.on_response_prepare for app in request.match_info.apps)
        )
