"""Access control: which requests may publish, which may subscribe, and from which web pages."""

from aiohttp import web
from aiohttp.typedefs import Handler

from aionotify.access.origins import (
    is_allowed_origin,
    is_loopback_host,
    is_preflight,
    preflight_response,
)
from aionotify.access.proxies import forwarded_address, requested_host
from aionotify.access.tokens import TOKEN_HINT, digest, find_digest, has_token
from aionotify.errors import Forbidden, Unauthorized
from aionotify.net import is_loopback
from aionotify.settings import Settings
from aionotify.stats import RejectReason
from aionotify.text import shorten


class Access:
    """Checks tokens, origins and host names.

    With tokens configured, every route needs one unless it is registered with `allow_anonymous`,
    so a forgotten route fails closed.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the settings once. Keeps digests of tokens, not the tokens."""
        # A traceback with local variables, or a debugger, then shows no token.
        self._admin_digests = [digest(token) for token in settings.admin_tokens]
        self._user_digests = [digest(token) for token in settings.user_tokens]
        self._allowed_origins = frozenset(settings.allowed_origins)
        self._trusted_proxies = settings.trusted_proxies
        # Resources, not routes: aiohttp registers HEAD as a route of its own beside GET.
        self._anonymous: set[web.AbstractResource] = set()
        # Tokens protect against DNS rebinding by themselves, since a foreign page has none. Behind
        # a proxy, or on a public address, any host name can be legitimate.
        self._loopback_hosts_only = (
            not self._admin_digests
            and not self._user_digests
            and not self._trusted_proxies
            and all(map(is_loopback, settings.hosts))
        )

    @property
    def publish_is_open(self) -> bool:
        """Whether publishing needs no token."""
        return not self._admin_digests

    def allow_anonymous(self, route: web.AbstractRoute) -> None:
        """Let `route` be used without a token. Origins and host names are still checked."""
        assert route.resource is not None
        self._anonymous.add(route.resource)

    def require_publisher(self, request: web.Request) -> None:
        """Raise Unauthorized unless `request` may publish notifications."""
        if self._admin_digests and not has_token(request, self._admin_digests):
            raise Unauthorized(
                f"An admin token is required to publish: {TOKEN_HINT}.", RejectReason.TOKEN
            )

    def require_subscriber(self, request: web.Request) -> None:
        """Raise Unauthorized unless `request` may subscribe and read notifications."""
        if self._user_digests and not has_token(request, self._user_digests + self._admin_digests):
            raise Unauthorized(
                f"A token is required to subscribe and read: {TOKEN_HINT}.", RejectReason.TOKEN
            )

    def sender(self, request: web.Request) -> bytes:
        """Return by what a sender is known again, over all of its connections and addresses.

        That is its token, or nothing while publishing needs none: then all are the same.
        """
        return find_digest(request, self._admin_digests) or b""

    def client_address(self, request: web.Request) -> str | None:
        """Return the client's address as reported by a trusted proxy, or None without one."""
        return forwarded_address(request, self._trusted_proxies)

    def cors_headers(self, request: web.Request) -> dict[str, str]:
        """Return the headers that let a page of an allowed origin read the response."""
        origin = request.headers.get("Origin")
        if not origin or not self._is_allowed_origin(origin, request):
            return {}
        # The origin itself and never `*`, and `Vary`, so that no cache serves the response to a
        # page of another origin. Without `Access-Control-Allow-Credentials`: there are no cookies.
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}

    @web.middleware
    async def cors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Add CORS headers to every response for an allowed origin (Fetch §3.2)."""
        # Errors need them too: without them, a page sees "network error" instead of the 401.
        response = await handler(request)
        if "Origin" in request.headers:
            response.headers.update(self.cors_headers(request))
        return response

    @web.middleware
    async def authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Raise Forbidden or Unauthorized, or pass the request on. Answers CORS preflights."""
        # Host and origin come first: a foreign page must not learn whether it guessed a token.
        self._check_host(request)
        self._check_origin(request)
        # aiohttp stores its own 404 or 405 here, and raises it once the handler is called. There
        # is nothing to protect then, and 401 would hide that a path does not exist.
        error = request.match_info.http_exception
        # No route has the method OPTIONS, so a preflight is a 405, which lists the methods of the
        # path. Browsers send it without credentials, so it must not need a token.
        if isinstance(error, web.HTTPMethodNotAllowed) and is_preflight(request):
            return preflight_response(request, error.allowed_methods)
        if error is None and request.match_info.route.resource not in self._anonymous:
            if request.method in ("GET", "HEAD"):
                self.require_subscriber(request)
            else:
                self.require_publisher(request)
        return await handler(request)

    def _check_host(self, request: web.Request) -> None:
        """Raise Forbidden if the server is for this machine only, and `Host` is another name."""
        # DNS rebinding: evil.example resolves to its own server first and to 127.0.0.1 later. The
        # browser then takes this server for evil.example, sends no foreign `Origin`, and lets the
        # page read everything. But it still sends the name in `Host`.
        # Programs may leave `Host` out (HTTP/1.0), browsers never do. If the application is mounted
        # in another one, that application decides where it listens, so its names are unknown here.
        host = request.headers.get("Host")
        mounted = len(request.match_info.apps) > 1
        if self._loopback_hosts_only and host and not mounted and not is_loopback_host(host):
            raise Forbidden(
                "This server is for this machine only, and accepts host names like localhost and "
                "127.0.0.1. To use another name, set AIONOTIFY_ADMIN_TOKEN and "
                "AIONOTIFY_USER_TOKEN, AIONOTIFY_TRUSTED_PROXIES or AIONOTIFY_HOST.",
                RejectReason.HOST,
            )

    def _check_origin(self, request: web.Request) -> None:
        """Raise Forbidden if the request comes from a page whose origin is not allowed."""
        # CORS alone would not do: it keeps pages from reading responses, but not from sending a
        # simple POST, and it does not apply to WebSockets at all (RFC 6455 §10.2).
        origin = request.headers.get("Origin")
        if origin is not None and not self._is_allowed_origin(origin, request):
            host = requested_host(request, self._trusted_proxies)
            # A proxy that passes its own `Host` is the commonest cause, and cannot be told from a
            # foreign page: nginx adds no header unless it is told to.
            raise Forbidden(
                f"The origin of this page is not allowed on the host {shorten(host)!r}. If the "
                "page is this server's own, have the proxy pass Host or X-Forwarded-Host, the "
                "latter with AIONOTIFY_TRUSTED_PROXIES. To allow another page, add its origin to "
                "AIONOTIFY_ALLOWED_ORIGINS, in the form https://example.com.",
                RejectReason.ORIGIN,
            )

    def _is_allowed_origin(self, origin: str, request: web.Request) -> bool:
        # No browser sends two. `headers.get` returns the first, a proxy may have checked the last.
        if len(request.headers.getall("Origin")) > 1:
            return False
        host = requested_host(request, self._trusted_proxies)
        return is_allowed_origin(origin, self._allowed_origins, host)
