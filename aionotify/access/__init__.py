"""Who may send, and who may listen: tokens, origins, host names."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from aiohttp import web
from aiohttp.typedefs import Handler

from aionotify.errors import Forbidden, Unauthorized
from aionotify.net import ANY_ORIGIN, Origin, is_loopback, parse_origin
from aionotify.settings import Settings
from aionotify.stats import RejectReason

SCHEME = "bearer "
TOKEN_PROTOCOL = "token."

ALLOWED_HEADERS = "Authorization, Content-Type, Last-Event-ID"
PREFLIGHT_LIFETIME = "600"
"""Seconds for which a browser need not ask again."""

HOW = (
    "give it as 'Authorization: Bearer <token>', as ?token=<token>, or as the WebSocket "
    "subprotocols aionotify, token.<token>"
)


class Access:
    """Asks every request who sent it, and from which page.

    Every route is closed to those without a token, where tokens are set, unless it was opened
    with `open_to_all`: one that is added and forgotten here stays closed. Keeps no token, only
    digests of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._admins = [_digest(token) for token in settings.admin_tokens]
        self._users = [_digest(token) for token in settings.user_tokens]
        self._allowed = frozenset(settings.allowed_origins)
        self._proxies = settings.trusted_proxies
        self._open: set[web.AbstractResource] = set()
        self._loopback_only = (
            not self._admins
            and not self._users
            and not self._proxies
            and is_loopback(settings.host)
        )

    @property
    def anybody_sends(self) -> bool:
        """Whether no token is needed to send."""
        return not self._admins

    def open_to_all(self, route: web.AbstractRoute) -> None:
        """`route` needs no token. Its origins are checked all the same."""
        assert route.resource is not None
        self._open.add(route.resource)

    def check_sender(self, request: web.Request) -> None:
        """Raises Unauthorized unless whoever sent `request` may send notifications."""
        if self._admins and not _known(self._admins, request):
            raise Unauthorized(f"An admin's token is needed to send: {HOW}.", RejectReason.TOKEN)

    def check_listener(self, request: web.Request) -> None:
        """Raises Unauthorized unless whoever sent `request` may see notifications."""
        if self._users and not _known(self._users + self._admins, request):
            raise Unauthorized(
                f"A token is needed to listen and to read: {HOW}.", RejectReason.TOKEN
            )

    @web.middleware
    async def share(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Tell a browser that the page may see the answer, whatever it is (Fetch §3.2)."""
        response = await handler(request)
        if "Origin" in request.headers:
            response.headers.update(self.shared(request))
        return response

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Raises Forbidden and Unauthorized; answers what browsers ask before they send."""
        self._check_host(request)
        self._check_origin(request)
        problem = request.match_info.http_exception
        if isinstance(problem, web.HTTPMethodNotAllowed) and _is_preflight(request):
            return _preflight(problem.allowed_methods)
        if problem is None and request.match_info.route.resource not in self._open:
            if request.method in ("GET", "HEAD"):
                self.check_listener(request)
            else:
                self.check_sender(request)
        return await handler(request)

    def shared(self, request: web.Request) -> dict[str, str]:
        """The headers of an answer that a page of another origin may see; without Origin, none."""
        value = request.headers.get("Origin")
        if value is None or not self._accepts(value, request):
            return {}
        return {"Access-Control-Allow-Origin": value, "Vary": "Origin"}

    def forwarded(self, request: web.Request) -> str | None:
        """The client's address as told by the outermost proxy that may be believed.

        None where no proxy may be, or where too few have left an address. Each proxy adds the
        address that it was called from at the end, so what stands further left may be made up.
        """
        if not self._proxies:
            return None
        told = _list(request, "X-Forwarded-For")
        if not told:
            told = [_forwarded_for(element) for element in _list(request, "Forwarded")]
        return _address(told[-self._proxies]) if len(told) >= self._proxies else None

    def _check_host(self, request: web.Request) -> None:
        """Raises Forbidden where a name leads here that is not this machine's own.

        A page of another site whose name suddenly means 127.0.0.1 would pass as our own (DNS
        rebinding). Where this is mounted in another application, that one knows its names.
        """
        host = request.headers.get("Host")
        mounted = len(request.match_info.apps) > 1
        if self._loopback_only and host and not mounted and not _is_local(host):
            raise Forbidden(
                "This server listens on this machine only, and answers to names like localhost "
                "and 127.0.0.1. To use another name, set AIONOTIFY_ADMIN_TOKEN and "
                "AIONOTIFY_USER_TOKEN, AIONOTIFY_TRUSTED_PROXIES or AIONOTIFY_HOST.",
                RejectReason.HOST,
            )

    def _check_origin(self, request: web.Request) -> None:
        value = request.headers.get("Origin")
        if value is not None and not self._accepts(value, request):
            raise Forbidden(
                "Pages of this origin are not accepted. To accept them, add their origin, like "
                "https://example.com, to AIONOTIFY_ALLOWED_ORIGINS.",
                RejectReason.ORIGIN,
            )

    def _accepts(self, value: str, request: web.Request) -> bool:
        if len(request.headers.getall("Origin")) > 1:
            return False
        if value == "null":  # a sandboxed frame, a file, a redirect: it could be anybody's
            return ANY_ORIGIN in self._allowed
        try:
            page = parse_origin(value)
        except ValueError:
            return False
        return ANY_ORIGIN in self._allowed or page in self._allowed or self._is_own(page, request)

    def _is_own(self, page: Origin, request: web.Request) -> bool:
        """Whether it is this server's page, or both are on this machine."""
        host = self._host(request)
        if is_loopback(page.host) and _is_local(host):
            return True
        try:  # whether the page came by TLS is known to the proxy alone
            return page == parse_origin(f"{page.scheme}://{host}")
        except ValueError:
            return False

    def _host(self, request: web.Request) -> str:
        """What the client called this server by, as `Host` says, or a proxy that is believed."""
        told = _list(request, "X-Forwarded-Host") if self._proxies else []
        if told:
            return told[max(0, len(told) - self._proxies)]
        return request.headers.get("Host", "")


def subprotocols(request: web.Request) -> list[str]:
    """What a WebSocket client offers to speak, in its order."""
    return _list(request, "Sec-WebSocket-Protocol")


@lru_cache(maxsize=256)  # every request asks, mostly for one name
def _is_local(host: str) -> bool:
    """Whether the value of a header `Host` is this machine's."""
    found = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?", host)
    return found is not None and is_loopback(found[1])


def _list(request: web.Request, name: str) -> list[str]:
    """The elements of a header that may come several times (RFC 9110 §5.6.1)."""
    parts = ",".join(request.headers.getall(name, [])).split(",")
    return [part.strip() for part in parts if part.strip()]


def _known(digests: Iterable[bytes], request: web.Request) -> bool:
    """Whether `request` has one of the tokens. Takes as long for each that it has not."""
    found = False
    for token in _presented(request):
        given = _digest(token)
        for digest in digests:
            found |= hmac.compare_digest(digest, given)
    return found


def _presented(request: web.Request) -> Iterable[str]:
    """Every token that comes with a request, wherever it stands."""
    authorization = request.headers.get("Authorization", "")
    if authorization[: len(SCHEME)].lower() == SCHEME:
        yield authorization[len(SCHEME) :].strip()
    yield from request.query.getall("token", [])[-1:]
    for protocol in subprotocols(request):
        if protocol.startswith(TOKEN_PROTOCOL):
            yield protocol.removeprefix(TOKEN_PROTOCOL)


def _digest(token: str) -> bytes:
    """All of one length, so that comparing tells nothing of a token's."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def _is_preflight(request: web.Request) -> bool:
    return (
        request.method == "OPTIONS"
        and "Origin" in request.headers
        and "Access-Control-Request-Method" in request.headers
    )


def _preflight(methods: Iterable[str]) -> web.Response:
    """That a page may go on; which origin may do so is said on every answer."""
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": PREFLIGHT_LIFETIME,
        },
    )


def _forwarded_for(element: str) -> str:
    """What one proxy says in `Forwarded` about where it was called from (RFC 7239 §5.2)."""
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""


def _address(text: str) -> str | None:
    """`text` as an address without its port; None where it is something else, as `unknown`."""
    found = re.fullmatch(r"\[([^\]]*)\](?::[0-9]*)?|([0-9.]+):[0-9]*", text)
    host = (found[1] or found[2]) if found else text
    try:
        return str(ipaddress.ip_address(host or ""))
    except ValueError:
        return None
