"""Origins and host names: which web pages may use this server, and under which names."""

import re
from collections.abc import Iterable
from functools import lru_cache

from aiohttp import web

from aionotify.access.headers import list_header
from aionotify.net import ANY_ORIGIN, NULL_ORIGIN, Origin, is_loopback, parse_origin

ALLOWED_HEADERS = "Authorization, Content-Type, Last-Event-ID"
"""Request headers that pages of allowed origins may set, if a preflight names none."""

PREFLIGHT_LIFETIME = "600"
"""Seconds for which a browser may reuse the response to a preflight."""

_SLASH_AT_END = re.compile(r"(?<!:/)/\Z")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# The header `Host`: a name or an address, with IPv6 in brackets, and maybe a port (RFC 9110 §7.2).
# Splitting at the first colon instead would let `localhost:8000:evil` pass as `localhost`.
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")


def is_allowed_origin(origin: str, allowed: frozenset[Origin | str], host: str) -> bool:
    """Return whether a page of `origin` may use the server that it addressed as `host`.

    The origins in `allowed` may, and the server's own. On a loopback address, so may any page
    that was loaded from this machine.
    """
    if origin in ("", NULL_ORIGIN):
        # Sandboxed frames, local files and some redirects send `null`, and any site can put its
        # page into a sandboxed frame. So `null` identifies no page, and must be allowed by name.
        # Programs that embed a browser send an empty value.
        return ANY_ORIGIN in allowed or origin in allowed
    try:
        # Browsers send no `/` at the end, but golang.org/x/net/websocket sends the URL that its
        # user gives as origin.
        page = parse_origin(_SLASH_AT_END.sub("", origin))
    except ValueError:
        # Not even `*` includes these: the value is repeated in a header of the response.
        return False
    return ANY_ORIGIN in allowed or page in allowed or _is_own_origin(page, host)


# Every request asks this, nearly always about the same name. The bound is for clients that make
# names up.
@lru_cache(maxsize=256)
def is_loopback_host(host: str) -> bool:
    """Return whether the value of a `Host` header always means this machine."""
    found = _HOST.fullmatch(host)
    return found is not None and is_loopback(found[1])


def is_preflight(request: web.Request) -> bool:
    """Return whether a browser asks for permission to send another request (Fetch §3.2.2)."""
    return (
        request.method == "OPTIONS"
        and "Origin" in request.headers
        and "Access-Control-Request-Method" in request.headers
    )


def preflight_response(request: web.Request, methods: Iterable[str]) -> web.Response:
    """Permit `methods`, and the headers that the preflight asks for.

    The allowed origin is added to every response.
    """
    # Any header: tracing and HTTP libraries add their own (`traceparent`, `X-Requested-With`), and
    # a header gives a page nothing that its origin does not. Only tokens (RFC 9110 §5.6.2), because
    # aiohttp 3.14.5 cannot send every value that it receives.
    asked = list_header(request, "Access-Control-Request-Headers")
    headers = ", ".join(each for each in asked if _TOKEN.fullmatch(each))
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": headers or ALLOWED_HEADERS,
            "Access-Control-Max-Age": PREFLIGHT_LIFETIME,
        },
    )


def _is_own_origin(page: Origin, host: str) -> bool:
    """Return whether `page` is an origin of the server that was addressed as `host`."""
    if not page.host:  # `file://` with an empty `Host` would be the same on both sides
        return False
    # During development a page often comes from another port of this machine (localhost:3000).
    if is_loopback(page.host) and is_loopback_host(host):
        return True
    # TLS ends at the proxy, so the server does not know its own scheme and takes the page's. That
    # also sets the default port, which `Host` and `Origin` both leave out.
    try:
        return page == parse_origin(f"{page.scheme}://{host}")
    except ValueError:
        return False
