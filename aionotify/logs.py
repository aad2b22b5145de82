"""Logging: the format of the log, and a line for each request."""

import logging
import time
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pythonjsonlogger.json import JsonFormatter

from aionotify.access import Access

logger = logging.getLogger(__name__)

TEXT_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

JSON_FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"
"""The attributes of a log record that become fields, in this order."""


class TextLineFormatter(logging.Formatter):
    """Formats a record as text for readers, with the time in UTC."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time as in JSON logs and notifications."""
        return _utc(record)


class JsonLineFormatter(JsonFormatter):
    """Formats a record as one line of JSON: time, level, logger, message, and maybe exception."""

    def __init__(self) -> None:
        super().__init__(
            JSON_FIELDS,
            # The names that log collectors look for, in place of Python's.
            rename_fields={
                "asctime": "time",
                "levelname": "level",
                "name": "logger",
                "exc_info": "exception",
            },
            json_ensure_ascii=False,
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time as in text logs and notifications."""
        return _utc(record)


def _utc(record: logging.LogRecord) -> str:
    """Return the time of a record in RFC 3339, UTC, with milliseconds and `Z`."""
    # The default is local time without an offset, so that the logs of two machines, or of one
    # before and after the change to summer time, cannot be put in order.
    written = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")


def configure_logging(level: str, style: str) -> None:
    """Log to standard error from `level` on, in the format `style`: `text` or `json`."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLineFormatter() if style == "json" else TextLineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # Otherwise Python prints warnings in its own format, and a log of JSON lines cannot be parsed.
    logging.captureWarnings(True)


def log_requests(access: Access) -> Middleware:
    """Return a middleware that logs method, path, status and duration at level debug."""

    @web.middleware
    async def log_request(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not logger.isEnabledFor(logging.DEBUG):
            return await handler(request)
        started = time.monotonic()
        status: int | None = None
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            # Also if the client disconnects (CancelledError) or the handler fails: no status then.
            address = access.client_address(request) or request.remote or "unknown"
            _log_request(request, status, time.monotonic() - started, address)
        return response

    return log_request


def _log_request(request: web.Request, status: int | None, seconds: float, address: str) -> None:
    """Log one request. The query is left out because it may hold a token."""
    # At level debug, because health checks alone would be most of the log. The raw path keeps line
    # breaks percent-encoded, so that no client can forge a line.
    logger.debug(
        "%s %s: %s after %.1f ms, for %s",
        request.method,
        request.rel_url.raw_path,
        status or "no response",
        seconds * 1000,
        address,
    )
