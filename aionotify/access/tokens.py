"""Tokens: where a request carries them, and how they are compared."""

import hashlib
import hmac
from collections.abc import Sequence

from aiohttp import web

from aionotify.access.headers import list_header

BEARER = "bearer "
"""The start of an `Authorization` header that carries a token (RFC 6750 §2.1), in lower case."""

SUBPROTOCOL_PREFIX = "token."
"""The start of a WebSocket subprotocol that carries a token."""

COOKIE = "aionotify_token"
"""The cookie that carries a token."""

TOKEN_HINT = (
    "send it as 'Authorization: Bearer <token>', as ?token=<token>, as the WebSocket "
    f"subprotocols aionotify, token.<token>, or as the cookie {COOKIE}"
)


def digest(token: str) -> bytes:
    """Return the SHA-256 digest of `token`."""
    # Digests are compared instead of tokens because all have the same length: compare_digest
    # returns at once if the lengths differ, which would reveal the length of the token.
    # aiohttp 3.14.5 decodes headers with `surrogateescape`, so a byte that is not UTF-8 becomes a
    # lone surrogate, which `encode()` alone rejects: a 500 instead of a 401.
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def find_digest(tokens: Sequence[str], digests: Sequence[bytes]) -> bytes | None:
    """Return the one of `digests` that one of `tokens` has. Compares in constant time."""
    found = None
    for token in tokens:
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


def tokens_of(request: web.Request, *, with_cookie: bool) -> list[str]:
    """Return the tokens in a request: header, query, subprotocol and, if wanted, cookie."""
    # All are tried: an outdated token in one place must not hide a valid one in another. But only
    # one of each place: verifying a JWT takes 0.1 ms, and there is room for a hundred.
    tokens = [_bearer(request)]
    # Of repeated parameters the last one counts, as in the FastAPI version. A space was a `+` that
    # the client did not escape: no token has a space.
    tokens += [each.replace(" ", "+") for each in request.query.getall("token", [])[-1:]]
    # The WebSocket API of browsers cannot set headers, and URLs end up in the logs of proxies: a
    # subprotocol is the only other place that a page controls.
    offered = (each for each in subprotocols(request) if each.startswith(SUBPROTOCOL_PREFIX))
    tokens += [each.removeprefix(SUBPROTOCOL_PREFIX) for each in offered][:1]
    if with_cookie:
        tokens.append(request.cookies.get(COOKIE, ""))
    return [each for each in tokens if each]


def _bearer(request: web.Request) -> str:
    authorization = request.headers.get("Authorization", "")
    if authorization[: len(BEARER)].lower() == BEARER:  # schemes ignore case (RFC 9110 §11.1)
        return authorization[len(BEARER) :].strip()
    return ""
