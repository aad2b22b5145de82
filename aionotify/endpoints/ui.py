"""`GET /ui` and what belongs to it, `GET /docs`, `GET /openapi.json`: files that never change."""

import hashlib
import json
from importlib import resources

from aiohttp import ETag, web
from aiohttp.typedefs import Handler

from aionotify import __version__
from aionotify.endpoints.description import as_html

HTML, SCRIPT, STYLE = "text/html", "text/javascript", "text/css"

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The page runs what comes from this server, talks to this server, and is framed by nobody."""


class Page:
    """The page, and the description of the interface for programs and for people.

    All of it is read when this is made, and refers to itself by relative addresses: it works
    under whatever path a proxy has put it.
    """

    def __init__(self) -> None:
        description = json.loads(_read("openapi.json"))
        description["info"]["version"] = __version__
        encoded = json.dumps(description, ensure_ascii=False, separators=(",", ":")).encode()
        self.handlers: dict[str, Handler] = {
            "/ui": _serve(_read("index.html"), HTML),
            "/ui/app.js": _serve(_read("app.js"), SCRIPT),
            "/ui/style.css": _serve(_read("style.css"), STYLE),
            "/docs": _serve(as_html(description).encode(), HTML),
            "/openapi.json": _serve(encoded, "application/json", charset=None),
        }
        """What answers at each path."""


def _read(name: str) -> bytes:
    return resources.files("aionotify").joinpath("web", name).read_bytes()


def _serve(body: bytes, content_type: str, charset: str | None = "utf-8") -> Handler:
    """Answers with `body`, or with 304 to who has it already (RFC 9110 §13.1.2)."""
    tag = ETag(hashlib.sha256(body).hexdigest()[:32])

    async def serve(request: web.Request) -> web.Response:
        known = request.if_none_match or ()
        if any(each.value in (tag.value, "*") for each in known):
            response = web.Response(status=304, headers=HEADERS)
        else:
            response = web.Response(
                body=body, headers=HEADERS, content_type=content_type, charset=charset
            )
        response.etag = tag
        return response

    return serve
