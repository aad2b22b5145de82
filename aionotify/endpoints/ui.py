"""`GET /ui`, its assets, `GET /client.js`, `GET /docs` and `GET /openapi.json`: static files."""

import hashlib
from importlib import resources

from aiohttp import ETag, web
from aiohttp.typedefs import Handler

HTML, SCRIPT, STYLE, JSON = "text/html", "text/javascript", "text/css", "application/json"

FILES = {
    "/ui": ("index.html", HTML),
    "/ui/app.js": ("app.js", SCRIPT),
    "/ui/attention.js": ("attention.js", SCRIPT),
    "/ui/channel.js": ("channel.js", SCRIPT),
    "/ui/composer.js": ("composer.js", SCRIPT),
    "/ui/desktop.js": ("desktop.js", SCRIPT),
    "/ui/dom.js": ("dom.js", SCRIPT),
    "/ui/entries.js": ("entries.js", SCRIPT),
    "/ui/feed.js": ("feed.js", SCRIPT),
    "/ui/panel.js": ("panel.js", SCRIPT),
    "/ui/row.js": ("row.js", SCRIPT),
    "/ui/token.js": ("token.js", SCRIPT),
    "/ui/topics.js": ("topics.js", SCRIPT),
    "/ui/style.css": ("style.css", STYLE),
    "/client.js": ("client.js", SCRIPT),
    "/client/transports.js": ("transports.js", SCRIPT),
    "/docs": ("docs.html", HTML),
    "/docs/docs.js": ("docs.js", SCRIPT),
    "/docs/docs.css": ("docs.css", STYLE),
    "/openapi.json": ("openapi.json", JSON),
}
"""The file in `aionotify/web` and the content type of each path.

The files refer to each other by relative URLs, so they work below any path prefix of a proxy.
"""

HEADERS = {
    # Not `max-age`: after an update, a cached script would meet a new page. The ETag makes the
    # check cheap: 304, and no body.
    "Cache-Control": "no-cache",
    # Everything is from this server, and no other site can show the page in a frame. `connect-src
    # 'self'` includes the WebSocket (CSP level 3). The icon is the only `data:` URL.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def static_files() -> dict[str, Handler]:
    """Read the files, and return the handler of each path."""
    folder = resources.files("aionotify").joinpath("web")
    return {
        path: _serve(folder.joinpath(name).read_bytes(), content_type)
        for path, (name, content_type) in FILES.items()
    }


def _serve(body: bytes, content_type: str) -> Handler:
    """Return a handler that answers with `body`, or with 304 if the client has it already."""
    # The hash of the content and not a time: all nodes behind a load balancer agree on it.
    tag = ETag(hashlib.sha256(body).hexdigest()[:32])
    # JSON has no parameter `charset`; it is always UTF-8 (RFC 8259 §8.1).
    charset = None if content_type == JSON else "utf-8"

    async def serve(request: web.Request) -> web.Response:
        # The comparison is weak (RFC 9110 §13.1.2): it ignores aiohttp's `is_weak`, because a
        # proxy that compresses responses, such as nginx, makes every tag weak.
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
