"""The opening handshake of WebSocket, as the server checks it (RFC 6455 §4.2.1)."""

import base64
import binascii

from aiohttp import web

from aionotify.access.headers import list_header
from aionotify.errors import InvalidRequest, UnsupportedVersion, UpgradeRequired


def handshake_key(request: web.Request) -> str:
    """Return the `Sec-WebSocket-Key` of a valid handshake.

    Raise UpgradeRequired if the request is no handshake, InvalidRequest for an invalid key, and
    HTTPMethodNotAllowed for HEAD.
    """
    headers = request.headers
    # Firefox sends `Connection: keep-alive, Upgrade`. Without "upgrade" in it, `Upgrade` was meant
    # for the previous hop (RFC 9110 §7.8): a proxy that does not pass upgrades on looks like this.
    options = [option.lower() for option in list_header(request, "Connection")]
    if "upgrade" not in options or headers.get("Upgrade", "").strip().lower() != "websocket":
        raise UpgradeRequired("Upgrade Required")
    if headers.get("Sec-WebSocket-Version") != "13":
        raise UnsupportedVersion("Only WebSocket protocol version 13 is supported.")
    key = headers.get("Sec-WebSocket-Key", "")
    if not _is_valid(key):
        raise InvalidRequest("Sec-WebSocket-Key must be 16 bytes in base64.")
    # aiohttp adds HEAD to every route with GET, but a handshake has no other method than GET.
    if request.method != "GET":
        raise web.HTTPMethodNotAllowed(request.method, ["GET"])
    return key


def _is_valid(key: str) -> bool:
    try:
        # Without validate=True, b64decode skips characters that are not in its alphabet.
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return False
