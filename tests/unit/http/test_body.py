"""The body of a request that publishes."""

import asyncio
from collections.abc import Iterable

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import ContentLengthError, TransferEncodingError
from aiohttp.test_utils import make_mocked_request

import aionotify.http.body
from aionotify.decoders import JSON_ENVELOPE, max_json_bytes
from aionotify.errors import InvalidRequest, MessageTooBig, RequestTimeout, UnsupportedMediaType
from aionotify.http.body import Body, Format, read_body

LIMIT = 10
JSON = {"Content-Type": "application/json; charset=utf-8"}
LINES = {"Content-Type": "application/x-ndjson"}


def post(
    chunks: Iterable[bytes] | Exception, headers: dict[str, str] | None = None, *, end: bool = True
) -> web.Request:
    """Return a request whose body has these chunks, or fails with an exception."""
    protocol = BaseProtocol(asyncio.get_running_loop())
    protocol.connection_made(asyncio.Transport())
    payload = StreamReader(protocol, 2**16)
    if isinstance(chunks, Exception):
        payload.set_exception(chunks)
    else:
        for chunk in chunks:
            payload.feed_data(chunk)
        if end:
            payload.feed_eof()
    return make_mocked_request("POST", "/", headers=headers or {}, payload=payload)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Encoding": " Identity "},
    ],
    ids=repr,
)
async def test_body_is_the_message(headers: dict[str, str]) -> None:
    request = post([b'{"a":', b' "\xc3', b"\xa9"], headers)
    assert await read_body(request, LIMIT) == Body('{"a": "é', Format.TEXT)


@pytest.mark.parametrize("headers", [{}, JSON], ids=["text", "json"])
async def test_byte_order_mark_is_dropped(headers: dict[str, str]) -> None:
    body = b'\xef\xbb\xbf{"message":"a"}'
    assert (await read_body(post([body], headers), LIMIT)).text == '{"message":"a"}'


async def test_form_data_is_415() -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with pytest.raises(UnsupportedMediaType, match=r"^multipart/form-data is not supported: "):
        await read_body(post([b"--x\r\n"], headers), LIMIT)


@pytest.mark.parametrize(
    ("content_type", "format"),
    [
        ("application/json", Format.JSON),
        ("Application/JSON; charset=utf-8", Format.JSON),
        ("application/x-ndjson", Format.LINES),
        ("application/x-ndjson; charset=utf-8", Format.LINES),
        ("application/problem+json", Format.TEXT),
    ],
)
async def test_type_is_the_format(content_type: str, format: Format) -> None:
    request = post([b"{}"], {"Content-Type": content_type})
    assert await read_body(request, LIMIT) == Body("{}", format)


@pytest.mark.parametrize(
    ("headers", "limit"),
    [({}, LIMIT + JSON_ENVELOPE), (JSON, max_json_bytes(LIMIT))],
)
async def test_body_is_bounded(headers: dict[str, str], limit: int) -> None:
    """A body without an end is not read to its end."""
    with pytest.raises(MessageTooBig, match=rf"^The body exceeds the limit of {limit} bytes\.$"):
        await read_body(post([b" " * (limit + 1)], headers, end=False), LIMIT)
    if not headers:
        assert await read_body(post([b" " * limit]), LIMIT) == Body(" " * limit, Format.TEXT)


async def test_lines_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aionotify.http.body, "MAX_LINES_BYTES", 20)
    assert await read_body(post([b" " * 20], LINES), LIMIT) == Body(" " * 20, Format.LINES)
    with pytest.raises(MessageTooBig, match=r"^The body exceeds the limit of 20 bytes\.$"):
        await read_body(post([b" " * 21], LINES, end=False), LIMIT)


async def test_body_must_arrive_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aionotify.http.body, "BODY_TIMEOUT", 0.01)
    with pytest.raises(RequestTimeout, match=r"^The body did not arrive within 0\.01 s\.$"):
        await read_body(post([b"Hel"], end=False), LIMIT)


@pytest.mark.parametrize("encoding", ["gzip", "deflate, gzip", "br", "x"])
async def test_compressed_body_is_invalid(encoding: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^Content-Encoding is not supported: "):
        await read_body(post([b"x"], {"Content-Encoding": encoding}), LIMIT)


@pytest.mark.parametrize("error", [TransferEncodingError("bad chunk"), ContentLengthError("short")])
async def test_broken_framing_is_invalid(error: Exception) -> None:
    with pytest.raises(InvalidRequest, match=r"^The body does not match its Transfer-Encoding"):
        await read_body(post(error), LIMIT)


@pytest.mark.parametrize("headers", [{}, JSON], ids=["text", "json"])
async def test_other_encodings_are_invalid(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=r"^The body is not UTF-8 \(invalid start byte\)\.$"):
        await read_body(post([b'{"message":"\xff"}'], headers), LIMIT)
