"""Access control: which requests may publish, which may subscribe, and from which web pages."""

import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from aiohttp import web
from aiohttp.typedefs import Handler

from aionotify.access.authentication import Authenticator, Identity
from aionotify.access.origins import (
    is_allowed_origin,
    is_loopback_host,
    is_preflight,
    preflight_response,
)
from aionotify.access.proxies import forwarded_address, requested_host
from aionotify.access.tokens import COOKIE, TOKEN_HINT, tokens_of
from aionotify.errors import BadToken, Forbidden, InsufficientScope, Unauthorized
from aionotify.grants import NO_TOPICS, Grant
from aionotify.net import ANY_ORIGIN, NULL_ORIGIN, Origin, is_loopback
from aionotify.settings import Settings
from aionotify.stats import RejectReason
from aionotify.text import shorten

TopicsOf = Callable[[web.Request], Sequence[str]]
"""Returns the topics that a request is about. Raises InvalidRequest for an invalid name."""

EVERY_TOPIC = ("*",)
"""Only a grant for all topics covers this: a star is in no name, and a prefix ends before it."""

BAD_TOKEN = f"The token is invalid or has expired: {TOKEN_HINT}."
"""The sentence for every bad token. A client that guesses must not learn how close it is."""

_IDENTITY = web.RequestKey("identity", Identity)


class Access:
    """Checks tokens, origins and host names.

    With tokens or keys configured, a route that is not registered here needs a token for all
    topics, so a forgotten route fails closed.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the settings once."""
        self.authenticator = Authenticator(settings)
        self._anyone = Identity(self.authenticator.anonymous)
        self._accepts_jwts = settings.accepts_jwts
        self._allowed_origins = frozenset(settings.allowed_origins)
        self._named_origins = self._allowed_origins - {ANY_ORIGIN, NULL_ORIGIN}
        self._trusted_proxies = settings.trusted_proxies
        # Resources, not routes: aiohttp registers HEAD as a route of its own beside GET.
        self._anonymous: set[web.AbstractResource] = set()
        self._subscribing: dict[web.AbstractResource, TopicsOf] = {}
        self._publishing: set[web.AbstractResource] = set()
        # Tokens protect against DNS rebinding by themselves, since a foreign page has none. Behind
        # a proxy, or on a public address, any host name can be legitimate.
        self._loopback_hosts_only = (
            not settings.admin_tokens
            and not settings.user_tokens
            and not settings.accepts_jwts
            and not self._trusted_proxies
            and all(map(is_loopback, settings.hosts))
        )

    @property
    def publish_is_open(self) -> bool:
        """Whether publishing needs no token."""
        return self.authenticator.anonymous.publish is not NO_TOPICS

    def allow_anonymous(self, route: web.AbstractRoute) -> None:
        """Let `route` be used without a token. Origins and host names are still checked."""
        self._anonymous.add(_resource(route))

    def allow_subscribers(self, route: web.AbstractRoute, topics_of: TopicsOf) -> None:
        """Let a request use `route` with GET if it may subscribe to all of its topics."""
        self._subscribing[_resource(route)] = topics_of

    def allow_publishers(self, route: web.AbstractRoute) -> None:
        """Let everyone with a valid token use `route`: it calls `require_publisher` itself.

        It may have to read the body to know the topics.
        """
        self._publishing.add(_resource(route))

    def require_publisher(self, request: web.Request, topics: Sequence[str]) -> None:
        """Raise Unauthorized or InsufficientScope unless `request` may publish to all `topics`."""
        grant = request[_IDENTITY].grant
        missing = [f"publish:{each}" for each in topics if not grant.may_publish(each)]
        if missing:
            self._reject(request, "publish", missing)

    def require_subscriber(self, request: web.Request, topics: Sequence[str]) -> None:
        """Raise the same unless `request` may subscribe to all `topics` and read them."""
        grant = request[_IDENTITY].grant
        missing = [f"subscribe:{each}" for each in topics if not grant.may_subscribe(each)]
        if missing:
            self._reject(request, "subscribe and read", missing)

    def lasting_grant(self, request: web.Request) -> Grant | None:
        """Return the grant of a connection that ends when its token expires; None: it never does.

        Raises BadToken in the leeway after the end: the connection would have to be closed at once,
        and the client would come back until the leeway is over.
        """
        grant = request[_IDENTITY].grant
        if grant.expires is None:
            return None
        if grant.expires <= time.time():
            raise BadToken(BAD_TOKEN, "it has just expired")
        return grant

    async def authenticate(self, request: web.Request) -> None:
        """Find out what `request` may do. The methods above need it. Raises Unavailable."""
        if self.authenticator.is_open:
            # Looking for tokens takes 3 µs of the 90 that publishing takes.
            request[_IDENTITY] = self._anyone
            return
        tokens = tokens_of(request, with_cookie=self._trusts_cookie(request))
        request[_IDENTITY] = await self.authenticator.identify(tokens)

    def sender(self, request: web.Request) -> bytes:
        """Return by what a sender is known again, over all of its connections and addresses.

        That is its static token or the subject of its JWT, or nothing while publishing needs no
        token: then all are the same.
        """
        return request[_IDENTITY].sender

    def client_address(self, request: web.Request) -> str | None:
        """Return the client's address as reported by a trusted proxy, or None without one."""
        return forwarded_address(request, self._trusted_proxies)

    def cors_headers(self, request: web.Request) -> dict[str, str]:
        """Return the headers that let a page of an allowed origin read the response."""
        origin = request.headers.get("Origin")
        if not origin or not self._is_allowed_origin(origin, request, self._allowed_origins):
            return {}
        # The origin itself and never `*`, and `Vary`, so that no cache serves the response to a
        # page of another origin.
        headers = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        if self._trusts_cookie(request):
            headers["Access-Control-Allow-Credentials"] = "true"
        return headers

    @web.middleware
    async def cors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Add CORS headers to every response for an allowed origin (Fetch §3.2)."""
        # Errors need them too: without them, a page sees "network error" instead of the 401.
        response = await handler(request)
        if "Origin" in request.headers:
            # Not `update`, which would replace the `Vary` of a compressed file.
            response.headers.extend(self.cors_headers(request))
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
        resource = request.match_info.route.resource
        if error is not None or resource in self._anonymous:
            return await handler(request)
        await self.authenticate(request)
        self._check_token(request, resource)
        response = await handler(request)
        if COOKIE in request.headers.get("Cookie", ""):
            # A shared cache knows that of requests with `Authorization` only (RFC 9111 §3.5).
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _check_token(self, request: web.Request, resource: web.AbstractResource | None) -> None:
        """Raise Unauthorized or InsufficientScope unless `request` may be handled."""
        grant = request[_IDENTITY].grant
        if request.method in ("GET", "HEAD"):
            topics_of = self._subscribing.get(resource) if resource else None
            # First whether there is a token at all: 401 comes before 400.
            if topics_of is None or (grant.subscribe is NO_TOPICS and grant.expires is None):
                self.require_subscriber(request, EVERY_TOPIC)
            else:
                self.require_subscriber(request, topics_of(request))
        elif resource not in self._publishing or grant.expires is None:
            self.require_publisher(request, EVERY_TOPIC)

    def _reject(self, request: web.Request, verb: str, missing: Sequence[str]) -> NoReturn:
        identity = request[_IDENTITY]
        if identity.problem is not None:
            raise BadToken(BAD_TOKEN, identity.problem)
        if identity.grant.expires is not None:
            raise InsufficientScope(missing)
        kind = "An admin token" if verb == "publish" and not self._accepts_jwts else "A token"
        raise Unauthorized(f"{kind} is required to {verb}: {TOKEN_HINT}.", RejectReason.TOKEN)

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
        if origin is not None and not self._is_allowed_origin(
            origin, request, self._allowed_origins
        ):
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

    def _trusts_cookie(self, request: web.Request) -> bool:
        """Return whether a cookie may count: unlike other tokens, browsers add it by themselves.

        It counts for programs, for the server's own pages, and for those of origins that are
        allowed by name. `*` and `null` stand for pages that nobody chose: any of them could use
        the rights of its visitors.
        """
        # A browser sends `Origin` with every POST and every WebSocket handshake. Without it, a
        # foreign page can only have GET sent, and does not see the response.
        origin = request.headers.get("Origin")
        return origin is None or self._is_allowed_origin(origin, request, self._named_origins)

    def _is_allowed_origin(
        self, origin: str, request: web.Request, allowed: frozenset[Origin | str]
    ) -> bool:
        # No browser sends two. `headers.get` returns the first, a proxy may have checked the last.
        if len(request.headers.getall("Origin")) > 1:
            return False
        host = requested_host(request, self._trusted_proxies)
        return is_allowed_origin(origin, allowed, host)


def _resource(route: web.AbstractRoute) -> web.AbstractResource:
    assert route.resource is not None
    return route.resource
