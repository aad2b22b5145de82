"""Rejected requests: counted by reason, and reported in the log with the true cause."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from aionotify.access import Access
from aionotify.errors import Rejected, Unauthorized
from aionotify.hub import Hub
from aionotify.net import network_of
from aionotify.stats import RejectReason
from aionotify.text import shorten


def count_rejections(access: Access, hub: Hub) -> Middleware:
    """Return a middleware that counts and reports rejected requests."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        # The reason is in the error only, so this must come before errors become responses.
        try:
            return await handler(request)
        except Rejected as error:
            hub.stats.rejected[error.reason] += 1
            _report(request, error, access.client_address(request) or request.remote, hub)
            raise

    return count


def _report(request: web.Request, error: Rejected, address: str | None, hub: Hub) -> None:
    """Report one rejected request. Never with its query, which may hold a token."""
    incidents = hub.stats.incidents
    # The raw path keeps line breaks percent-encoded, and `ascii` escapes them in headers, so that
    # no client can forge a line.
    where = f"{request.method} {shorten(request.rel_url.raw_path)} from {address or 'unknown'}"
    match error.reason:
        case RejectReason.TOO_MANY:
            incidents.limit_reached(hub.max_connections)
        case RejectReason.TOO_MANY_PER_ADDRESS:
            # Once for each: a client that is turned away tries again every few seconds.
            network = network_of(address)
            incidents.report_once(
                f"address {network}",
                f"rejected {where} with 429: {hub.stats.addresses.limit:,} clients are connected "
                f"from {network} (AIONOTIFY_MAX_CONNECTIONS_PER_ADDRESS)",
            )
        case RejectReason.ORIGIN:
            # Once for each origin: a page that is not allowed tries again every few seconds.
            origin = ascii(shorten(request.headers.get("Origin", "")))
            host = ascii(shorten(request.headers.get("Host", "")))
            incidents.report_once(
                f"origin {origin}",
                f"rejected origin {origin} ({where}, Host {host}): if it is yours, add it to "
                "AIONOTIFY_ALLOWED_ORIGINS, or have the proxy pass Host or X-Forwarded-Host",
            )
        case RejectReason.HOST:
            host = ascii(shorten(request.headers.get("Host", "")))
            incidents.report_once(
                f"host {host}",
                f"rejected host name {host} ({where}): without tokens, a server on loopback is "
                "called by the names of this machine only",
            )
        case RejectReason.TOKEN:
            # One line a minute: scanners and outdated clients try again without end.
            cause = error.cause if isinstance(error, Unauthorized) else error
            incidents.report("token", f"rejected {where}: {cause}", lines=1)
        case _:
            incidents.report(error.reason, f"rejected {where}: {error}", lines=1)
