"""Malformed requests: their responses, and the log of aiohttp."""

import json
import logging
from collections.abc import Iterator

import pytest
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from aionotify.http import malformed
from aionotify.http.malformed import MAX_FIELD, MAX_TARGET, malformed_response
from tests.support import converse, exchange
from tests.support.serving import serving

BROKEN = {
    b"nonsense\r\n\r\n": b"Invalid method encountered",
    b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n": b"Invalid method encountered",
    b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n": b"Missing 'Host' header in request",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n": b"Invalid header token",
    b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n": b"Invalid char in url path",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": b"Received HTTPS traffic on an HTTP port",
}


@pytest.mark.parametrize(("request_", "problem"), BROKEN.items(), ids=range(len(BROKEN)))
async def test_malformed_request_gets_json(request_: bytes, problem: bytes) -> None:
    async with serving() as port:
        head, _, body = (await converse(port, request_)).partition(b"\r\n\r\n")
        status, *headers = head.split(b"\r\n")
        assert status.endswith(b" 400 Bad Request")
        assert b"Content-Type: application/json" in headers
        assert body == b'{"detail":"Malformed HTTP request (%b)."}' % problem


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /?%b HTTP/1.1" % (b"x" * 16_000), 200),
        (b"GET /?%b HTTP/1.1" % (b"x" * 17_000), 414),
        (b"GET / HTTP/1.1\r\nCookie: %b" % (b"x" * 20_400), 200),
        (b"GET / HTTP/1.1\r\nCookie: %b" % (b"x" * 20_500), 431),
        (b"GET / HTTP/1.1" + b"\r\nA: b" * 98, 200),
        (b"GET / HTTP/1.1" + b"\r\nA: b" * 99, 431),
    ],
    ids=range(6),
)
async def test_long_heads(head: bytes, status: int) -> None:
    """The limits of aiohttp alone are 8,190 bytes, fewer than the cookies of a large site need."""
    async with serving() as port:
        answer = await exchange(port, head)
        assert int(answer.status.split()[1]) == status


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (LineTooLong(b"a secret", MAX_TARGET), 414, "The URL exceeds the limit of 16384 bytes."),
        (
            LineTooLong(b"a secret", MAX_FIELD),
            431,
            "A header exceeds the limit of 20480 bytes; cookies are one header.",
        ),
        (
            BadHttpMessage("Too many headers received"),
            431,
            "The request has more than 100 headers.",
        ),
        (BadHttpMessage("Bad thing"), 400, "Malformed HTTP request (Bad thing)."),
        (None, 400, "Malformed HTTP request (bad request)."),
    ],
    ids=repr,
)
def test_parser_error_becomes_response(
    error: BadHttpMessage | None, status: int, detail: str
) -> None:
    response = malformed_response(error, error.message if error else None)
    assert response.status == status
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {"detail": detail}


@pytest.fixture
def filtered(caplog: pytest.LogCaptureFixture) -> Iterator[logging.Logger]:
    """A logger with the filter, and everything from level debug on in `caplog`."""
    caplog.set_level(logging.DEBUG)
    logger = logging.getLogger("tests.filtered")
    logger.addFilter(malformed._drop_malformed_requests)
    yield logger
    logger.removeFilter(malformed._drop_malformed_requests)


@pytest.mark.parametrize(
    "error",
    [
        BadHttpMessage("a secret"),
        LineTooLong(b"a secret", 10),
        web.RequestPayloadError("a secret"),
        ConnectionResetError("a secret"),
        UnicodeEncodeError("utf-8", "Unknown Expect: a secret\udcff", 24, 25, "not allowed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_client_errors_are_one_line(
    error: Exception, filtered: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback, which quotes the request, becomes a line at level debug without it."""
    filtered.error("Error handling request from %s", "192.0.2.1", exc_info=error)
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == f"malformed or aborted request ({type(error).__name__})"
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "error",
    [None, LookupError("of ours"), UnicodeEncodeError("utf-8", "\udcff", 0, 1, "not allowed")],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_keep_their_traceback(
    error: Exception | None, filtered: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    filtered.error("Unhandled exception", exc_info=error)
    (record,) = caplog.records
    assert record.getMessage() == "Unhandled exception"
    assert record.exc_info is None or record.exc_info[1] is error


def test_filter_is_installed_once() -> None:
    """Several servers in one process share aiohttp's logger."""
    for _ in range(2):
        malformed.drop_malformed_requests()
    filters = logging.getLogger("aiohttp.server").filters
    assert filters.count(malformed._drop_malformed_requests) == 1


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (None, "Malformed HTTP request (bad request)."),
        ("", "Malformed HTTP request (bad request)."),
        (
            "Invalid header token:\n\n  b'a secret'\n     ^",
            "Malformed HTTP request (Invalid header token).",
        ),
        (
            "Got more than 10 bytes when reading: b'a secret'.",
            "Malformed HTTP request (Got more than 10 bytes when reading).",
        ),
    ],
)
def test_parser_message_drops_the_excerpt(message: str | None, sentence: str) -> None:
    assert malformed._sentence(message) == sentence
