"""Tokens: where a request carries them, and how they are compared."""

import hashlib
import hmac
from collections.abc import Iterator, Sequence

from aiohttp import web

from aionotify.access.headers import list_header

BEARER = "bearer "
"""The start of an `Authorization` header that carries a token (RFC 6750 §2.1), in lower case."""

SUBPROTOCOL_PREFIX = "token."
"""The start of a WebSocket subprotocol that carries a token."""

TOKEN_HINT = (
    "send it as 'Authorization: Bearer <token>', as ?token=<token>, or as the WebSocket "
    "subprotocols aionotify, token.<token>"
)


def digest(token: str) -> bytes:
    """Return the SHA-256 digest of `token`."""
    # Digests are compared instead of tokens because all have the same length: compare_digest
    # returns at once if the lengths differ, which would reveal the length of the token.
    # aiohttp 3.14.5 decodes headers with `surrogateescape`, so a byte that is not UTF-8 becomes a
    # lone surrogate, which `encode()` alone rejects: a 500 instead of a 401.
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def has_token(request: web.Request, digests: Sequence[bytes]) -> bool:
    """Return whether `request` carries a token with one of `digests`. Compares in constant time."""
    return find_digest(request, digests) is not None


def find_digest(request: web.Request, digests: Sequence[bytes]) -> bytes | None:
    """Return the one of `digests` whose token `request` carries. Compares in constant time."""
    found = None
    for token in _tokens_of(request):
        presented = digest(token)
        for each in digests:
            # `==` stops at the first byte that differs, and `any()` at the first match: the time
            # that either takes tells an attacker how close a guess is, and which token it hit.
            if hmac.compare_digest(each, presented):
                found = each
    return found


def subprotocols(request: web.Request) -> list[str]:
    """Return the subprotocols that a WebSocket client offers, in its order."""
    return list_header(request, "Sec-WebSocket-Protocol")


def _tokens_of(request: web.Request) -> Iterator[str]:
    """Iterate over every token in a request: header, query and subprotocols."""
    # All are tried: an outdated token in one place must not hide a valid one in another.
    authorization = request.headers.get("Authorization", "")
    if authorization[: len(BEARER)].lower() == BEARER:  # schemes ignore case (RFC 9110 §11.1)
        yield authorization[len(BEARER) :].strip()
    # Of repeated parameters the last one counts, as in the FastAPI version. A space was a `+` that
    # the client did not escape: no token has a space.
    yield from (each.replace(" ", "+") for each in request.query.getall("token", [])[-1:])
    # The WebSocket API of browsers cannot set headers, and URLs end up in the logs of proxies: a
    # subprotocol is the only other place that a page controls.
    for protocol in subprotocols(request):
        if protocol.startswith(SUBPROTOCOL_PREFIX):
            yield protocol.removeprefix(SUBPROTOCOL_PREFIX)
