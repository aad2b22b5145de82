"""`GET /ui`, its assets, `GET /client.js`, `GET /docs` and `GET /openapi.json`: static files."""

import gzip
import hashlib
import re
from functools import cache
from importlib import resources

from aiohttp import ETag, web
from aiohttp.typedefs import Handler

from aionotify.access.headers import list_header

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
    # A cache keeps the plain and the compressed form apart.
    "Vary": "Accept-Encoding",
}

_CODING = re.compile(r"([^;\s]+)\s*(?:;\s*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?", re.IGNORECASE)
"""An element of `Accept-Encoding` and its weight, which is 1 by default (RFC 9110 §12.4.2)."""


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
    tag = hashlib.sha256(body).hexdigest()[:32]
    # JSON has no parameter `charset`; it is always UTF-8 (RFC 8259 §8.1).
    charset = None if content_type == JSON else "utf-8"

    async def serve(request: web.Request) -> web.Response:
        is_compressed = _prefers_gzip(request)
        # The comparison is weak (RFC 9110 §13.1.2): it ignores aiohttp's `is_weak`.
        if any(each.value in (tag, "*") for each in request.if_none_match or ()):
            response = web.Response(status=304, headers=HEADERS)
        else:
            response = web.Response(
                body=_compressed(body) if is_compressed else body,
                headers=HEADERS,
                content_type=content_type,
                charset=charset,
            )
            if is_compressed:
                response.headers["Content-Encoding"] = "gzip"
        # A strong tag stands for the same bytes (RFC 9110 §8.8.3), and those of gzip also differ
        # between versions of zlib, and so between nodes.
        response.etag = ETag(tag, is_weak=is_compressed)
        return response

    return serve


@cache
def _compressed(body: bytes) -> bytes:
    # Once, and not at the start: all files take 10 ms.
    return gzip.compress(body, mtime=0)


def _prefers_gzip(request: web.Request) -> bool:
    """Return whether the client accepts gzip, and does not prefer the plain file to it."""
    # aiohttp 3.14.5 only looks for the word, so its `enable_compression` ignores `gzip;q=0`.
    found = map(_CODING.fullmatch, list_header(request, "Accept-Encoding"))
    weights = {each[1].lower(): float(each[2] or 1) for each in found if each}
    # `x-gzip` is the same coding (RFC 9110 §8.4.1.3), and `*` stands for all that are not listed.
    weight = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0)))
    return weight > 0 and weight >= weights.get("identity", 0)
