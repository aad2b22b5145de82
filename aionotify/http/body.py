"""The body of a request that publishes."""

import asyncio
from enum import StrEnum
from typing import NamedTuple

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from aionotify.decoders import JSON_ENVELOPE, max_json_bytes
from aionotify.errors import InvalidRequest, MessageTooBig, RequestTimeout, UnsupportedMediaType

BODY_TIMEOUT = 10.0
"""Seconds in which a body must arrive."""

MAX_LINES_BYTES = 1024 * 1024
"""Bytes of a body with many messages."""


class Format(StrEnum):
    """The format of a body that publishes."""

    TEXT = "text/plain"
    JSON = "application/json"
    LINES = "application/x-ndjson"


_FORMATS = frozenset(Format)


class Body(NamedTuple):
    """The whole body of a request, decoded."""

    text: str
    format: Format


async def read_body(request: web.Request, max_message_bytes: int) -> Body:
    """Return the body of `request`: a message as text or as a JSON object, or lines of these.

    A message may still be longer than `max_message_bytes`, but the body is bounded.
    Raise InvalidRequest, UnsupportedMediaType, MessageTooBig or RequestTimeout.
    """
    # Any other type counts as text: `curl -d` sends application/x-www-form-urlencoded. But the
    # parts that `curl -F` sends would be published with their boundaries.
    content_type = request.content_type
    if content_type == "multipart/form-data":
        raise UnsupportedMediaType("multipart/form-data is not supported: send the message alone.")
    format = Format(content_type) if content_type in _FORMATS else Format.TEXT
    limit = _limit(format, max_message_bytes)
    if request.content.is_eof() or request.content.total_bytes == request.content_length:
        # The usual case: a small body arrives together with its head. Starting and cancelling a
        # timer that cannot expire would take a tenth of the time that publishing takes.
        body = await _read(request, limit)
    else:
        try:
            # aiohttp 3.14.5 has no time-out for bodies: a client that sends half of one would keep
            # its connection for ever.
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await _read(request, limit)
        except TimeoutError:
            raise RequestTimeout(f"The body did not arrive within {BODY_TIMEOUT:g} s.") from None
    try:
        # PowerShell and Notepad begin files with a byte order mark, which json.loads refuses.
        text = body.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8 ({error.reason}).") from None
    return Body(text, format)


def _limit(format: Format, max_message_bytes: int) -> int:
    if format is Format.LINES:
        return MAX_LINES_BYTES
    if format is Format.JSON:
        return max_json_bytes(max_message_bytes)
    return max_message_bytes + JSON_ENVELOPE


async def _read(request: web.Request, limit: int) -> bytes:
    # `protocol` switches the decompression of aiohttp 3.14.5 off, because a few KiB can become
    # gigabytes. Without this check, the compressed bytes would be published.
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise InvalidRequest("Content-Encoding is not supported: send the body uncompressed.")
    # Not request.read(): its limit, client_max_size, is one for the whole application, and the
    # error that it raises would not close the connection.
    body, content = bytearray(), request.content
    try:
        # A body that is there is taken without an `await`, for the sake of publishing.
        while chunk := content.read_nowait() if content.is_eof() else await content.readany():
            body += chunk
            if len(body) > limit:
                raise MessageTooBig(f"The body exceeds the limit of {limit} bytes.")
    except HttpProcessingError:
        # aiohttp 3.14.5 raises what its parser found wrong with the chunks where they are read, and
        # would answer it with 500 and a traceback. `HttpProtocol` adds a body that ends early.
        raise InvalidRequest(
            "The body does not match its Transfer-Encoding or Content-Length."
        ) from None
    return bytes(body)
