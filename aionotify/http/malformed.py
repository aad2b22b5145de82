"""Malformed requests: their responses, and their place in aiohttp's log.

Everything here leans on internals of aiohttp, checked against version 3.14.5.
"""

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from aionotify.http.responses import error_response

logger = logging.getLogger(__name__)

MAX_TARGET = 16_384
"""Longest request target, in bytes: a URL with its query."""

# Not the same as MAX_TARGET: an error of aiohttp tells by its limit alone which of both was
# exceeded.
MAX_FIELD = 20_480
"""Longest header field, in bytes of name and value; 16 KiB of cookies fit in."""

MAX_FIELDS = 100
"""Number of header fields in a request at most, so that a head takes 2 MiB at most."""

_TOO_MANY_FIELDS = "Too many headers received"

_CLIENT_ERRORS = (HttpProcessingError, web.RequestPayloadError, ConnectionError)
"""Exceptions in aiohttp's log that clients cause: malformed or aborted requests."""


def malformed_response(error: BaseException | None, message: str | None) -> web.Response:
    """Return the response to a request that aiohttp's parser rejected with `error`."""
    if isinstance(error, LineTooLong):
        if error.args[1] == MAX_TARGET:
            return error_response(414, f"The URL exceeds the limit of {MAX_TARGET} bytes.")
        detail = f"A header exceeds the limit of {MAX_FIELD} bytes; cookies are one header."
        return error_response(431, detail)
    if message == _TOO_MANY_FIELDS:
        return error_response(431, f"The request has more than {MAX_FIELDS} headers.")
    return error_response(400, _sentence(message))


def drop_malformed_requests() -> None:
    """Keep malformed and aborted requests out of the log of aiohttp, for the whole process."""
    # Adding the same function twice has no effect, so several servers in one process are fine.
    logging.getLogger("aiohttp.server").addFilter(_drop_malformed_requests)


def _drop_malformed_requests(record: logging.LogRecord) -> bool:
    """Drop aiohttp's tracebacks of malformed and aborted requests.

    They flood the log, and they quote the request, which may hold a token.
    """
    error = record.exc_info[1] if record.exc_info else None
    # For an `Expect` that is not UTF-8, aiohttp quotes the value in the text of its 417, and fails
    # to encode it. Only this text tells such a UnicodeEncodeError from one of ours.
    bad_expect = isinstance(error, UnicodeEncodeError) and error.object.startswith("Unknown Expect")
    if not bad_expect and not isinstance(error, _CLIENT_ERRORS):
        return True
    logger.debug("malformed or aborted request (%s)", type(error).__name__)
    return False


def _sentence(message: str | None) -> str:
    """Return the parser's message as a sentence, without the excerpt of the request in it."""
    # Messages end in an excerpt, on the same line ("… when reading: b'GET /'") or on the next ones
    # ("Invalid header token:\n\n  b'GET /'\n   ^"). It may hold a token, and clients log errors.
    problem = (message or "").partition("\n")[0].partition(": ")[0].rstrip(":. ")
    return f"Malformed HTTP request ({problem or 'bad request'})."
