"""Log lines: their format as text and JSON, and the line for each request."""

import asyncio
import contextlib
import json
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp.typedefs import Handler

from aionotify.access import Access
from aionotify.logs import (
    JsonLineFormatter,
    TextLineFormatter,
    configure_logging,
    log_requests,
)
from aionotify.settings import Settings

TOKEN = "a-token-that-nobody-sees"


def formatted(message: str, *arguments: object, failed: bool = False) -> dict[str, Any]:
    """Return the fields of the line for a record."""
    error = sys.exc_info() if failed else None
    record = logging.LogRecord("a.logger", logging.WARNING, "x.py", 1, message, arguments, error)
    record.created = 1_763_884_800.25
    line = JsonLineFormatter().format(record)
    assert "\n" not in line
    document: dict[str, Any] = json.loads(line)
    return document


def test_json_line_is_one_object() -> None:
    assert formatted("Grüße an %s\nund %d", "alle", 2) == {
        "time": "2025-11-23T08:00:00.250Z",
        "level": "WARNING",
        "logger": "a.logger",
        "message": "Grüße an alle\nund 2",
    }


def test_text_time_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the time zone of the machine: logs of several machines are read side by side."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    record = logging.LogRecord("a.logger", logging.INFO, "x.py", 1, "Hello", (), None)
    record.created = 1_763_884_800.25
    line = TextLineFormatter().format(record)
    monkeypatch.undo()
    time.tzset()
    assert line == "2025-11-23T08:00:00.250Z INFO    a.logger: Hello"


def test_exception_stays_in_its_line() -> None:
    try:
        raise ValueError("what happened")
    except ValueError:
        document = formatted("it failed", failed=True)
    assert list(document) == ["time", "level", "logger", "message", "exception"]
    assert document["exception"].endswith("ValueError: what happened")
    assert document["exception"].startswith("Traceback")


@contextlib.contextmanager
def configured(level: str, style: str) -> Iterator[None]:
    """Call `configure_logging` as if nothing had been configured yet, and undo it at the end."""
    root = logging.getLogger()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(root, "handlers", [])  # pytest has installed some
        patch.setattr(root, "level", root.level)
        warnings.simplefilter("always")
        try:
            configure_logging(level, style)
            yield
        finally:
            logging.captureWarnings(False)
    # Loggers cache the effective level; setting it again clears these caches.
    root.setLevel(root.level)


def test_text_line_has_level_and_logger(capsys: pytest.CaptureFixture[str]) -> None:
    with configured("warning", "text"):
        logging.getLogger("a.logger").info("not shown")
        logging.getLogger("a.logger").warning("shown")
    line = capsys.readouterr().err
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(time + r" WARNING a\.logger: shown\n", line)


def test_json_style_includes_python_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning in Python's own format would make the log unreadable for a JSON parser."""
    with configured("info", "json"):
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    document = json.loads(capsys.readouterr().err)
    assert document["logger"] == "py.warnings"
    assert "DeprecationWarning: deprecated" in document["message"]


async def respond(request: web.Request) -> web.StreamResponse:
    """Respond with 204."""
    return web.Response(status=204)


async def redirect(request: web.Request) -> web.StreamResponse:
    """Raise a redirect."""
    raise web.HTTPFound("/elsewhere")


async def fail(request: web.Request) -> web.StreamResponse:
    """Raise an error that is no response."""
    raise LookupError("of ours")


async def vanish(request: web.Request) -> web.StreamResponse:
    """End like a handler whose client disconnects."""
    raise asyncio.CancelledError


async def line_for(
    handler: Handler,
    caplog: pytest.LogCaptureFixture,
    target: str = "/path?token=" + TOKEN,
    proxies: int = 0,
) -> str:
    """Return the line for a request to `handler`, with the duration replaced by N."""
    caplog.set_level(logging.DEBUG, "aionotify.logs")
    request = make_mocked_request("GET", target, headers={"X-Forwarded-For": "192.0.2.7"})
    middleware = log_requests(Access(Settings(trusted_proxies=proxies)))
    with contextlib.suppress(web.HTTPFound, LookupError, asyncio.CancelledError):
        await middleware(request, handler)
    (record,) = caplog.records
    return re.sub(r"\d+\.\d ms", "N ms", record.getMessage())


@pytest.mark.parametrize(
    ("handler", "status"),
    [(respond, "204"), (redirect, "302"), (fail, "no response"), (vanish, "no response")],
)
async def test_request_line_has_status(
    handler: Handler, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    line = await line_for(handler, caplog)
    assert line == f"GET /path: {status} after N ms, for unknown"


async def test_request_line_has_forwarded_address(caplog: pytest.LogCaptureFixture) -> None:
    line = await line_for(respond, caplog, proxies=1)
    assert line == "GET /path: 204 after N ms, for 192.0.2.7"


async def test_request_line_has_no_query(caplog: pytest.LogCaptureFixture) -> None:
    assert TOKEN not in await line_for(respond, caplog)


async def test_request_line_cannot_be_forged(caplog: pytest.LogCaptureFixture) -> None:
    assert await line_for(respond, caplog, "/a%0Ab") == "GET /a%0Ab: 204 after N ms, for unknown"


async def test_no_request_line_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aionotify.logs")
    middleware = log_requests(Access(Settings()))
    response = await middleware(make_mocked_request("GET", "/"), respond)
    assert response.status == 204
    assert caplog.records == []
