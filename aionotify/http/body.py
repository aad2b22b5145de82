"""The body of a request that publishes."""

import asyncio

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from aionotify.decoders import JSON_ENVELOPE, Message, max_json_bytes, message_from_json
from aionotify.errors import InvalidRequest, MessageTooBig, RequestTimeout, UnsupportedMediaType

BODY_TIMEOUT = 10.0
"""Seconds in which a body must arrive."""


async def read_message(request: web.Request, max_message_bytes: int) -> Message:
    """Return the message in the body of `request`: plain text, or a JSON object.

    The message may still be longer than `max_message_bytes`, but the body is bounded.
    Raise InvalidRequest, UnsupportedMediaType, MessageTooBig or RequestTimeout.
    """
    # Any other type counts as text: `curl -d` sends application/x-www-form-urlencoded. But the
    # parts that `curl -F` sends would be published with their boundaries.
    content_type = request.content_type
    if content_type == "multipart/form-data":
        raise UnsupportedMediaType("multipart/form-data is not supported: send the message alone.")
    is_json = content_type == "application/json"
    limit = max_json_bytes(max_message_bytes) if is_json else max_message_bytes + JSON_ENVELOPE
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
    return message_from_json(text) if is_json else Message(text)


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
