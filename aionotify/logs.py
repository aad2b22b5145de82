"""What the lines of the log look like, and one for each request."""

import logging
import time
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Handler
from pythonjsonlogger.json import JsonFormatter

from aionotify.access import Access

logger = logging.getLogger(__name__)

TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class JsonLineFormatter(JsonFormatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and exception."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={
                "asctime": "time",
                "levelname": "level",
                "name": "logger",
                "exc_info": "exception",
            },
            json_ensure_ascii=False,
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """The time as notifications have it: in milliseconds, with a `Z`."""
        written = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return written.replace("+00:00", "Z")


def configure_logging(level: str, style: str) -> None:
    """Lines from `level` on, as `style` says: `text` for people, or `json`.

    Python's own warnings are among them, so that nothing comes in another form.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLineFormatter() if style == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(True)


class Journal:
    """A line for each request, at the level debug."""

    def __init__(self, access: Access) -> None:
        self._access = access

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What was asked for, without the query, where tokens stand; and what came of it."""
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
            logger.debug(
                "%s %s: %s after %.1f ms, for %s",
                request.method,
                request.rel_url.raw_path,
                status or "no answer",
                (time.monotonic() - started) * 1000,
                self._access.client_address(request) or request.remote or "unknown",
            )
        return response
