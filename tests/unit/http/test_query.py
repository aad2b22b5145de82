"""The parameters of a request."""

from collections.abc import Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from aionotify.errors import InvalidRequest
from aionotify.http.query import (
    Format,
    SubscribeRequest,
    event_stream_request,
    is_admin,
    parse_since,
    parse_topic,
    parse_topics,
    websocket_request,
)


def get(target: str, **headers: str) -> web.Request:
    """Return a GET request. `_` in the names of headers stands for `-`."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("GET", target, headers=fields)


@pytest.mark.parametrize(
    ("query", "topic"),
    [
        ("", "main"),
        ("?topic=a", "a"),
        ("?topic=A.b_c-9", "A.b_c-9"),
        ("?topic=" + "x" * 64, "x" * 64),
        ("?topic=a&topic=b", "b"),
        ("?Topic=a", "main"),
    ],
)
def test_topic_is_parsed(query: str, topic: str) -> None:
    assert parse_topic(get(f"/{query}")) == topic


@pytest.mark.parametrize(
    ("query", "topics"),
    [
        ("", ("main",)),
        ("?topic=a", ("a",)),
        ("?topic=b,a", ("b", "a")),
        ("?topic=b%2Ca", ("b", "a")),
        ("?topic=b,a,b,b", ("b", "a")),
        ("?topic=" + "a," * 50 + "a,b,c", ("a", "b", "c")),
    ],
)
def test_topics_are_parsed(query: str, topics: tuple[str, ...]) -> None:
    """In their order, each once; duplicates do not count towards the limit."""
    assert parse_topics(get(f"/{query}"), 3) == topics


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("a,b,c,d", "topic: 4 topics (expected at most 3)"),
        ("a,", "topic: invalid value '' (expected 1 to 64 letters, digits, '_', '.' or '-')"),
        ("a, b", "topic: invalid value ' b' (expected 1 to 64 letters, digits, '_', '.' or '-')"),
        ("", "topic: invalid value '' (expected 1 to 64 letters, digits, '_', '.' or '-')"),
    ],
)
def test_invalid_topics_are_named(query: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_topics(get(f"/?topic={query.replace(' ', '%20')}"), 3)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("query", "since"),
    [
        ("", None),
        ("?since=0", 0),
        ("?since=9999999999999999", 10**16 - 1),
        ("?since=1&since=2", 2),
        ("?since=", None),
    ],
)
def test_since_is_parsed(query: str, since: int | None) -> None:
    assert parse_since(get(f"/{query}")) == since


@pytest.mark.parametrize(
    ("parse", "query", "sentence"),
    [
        (
            parse_topic,
            "?topic=a%20b",
            "topic: invalid value 'a b' (expected 1 to 64 letters, digits, '_', '.' or '-')",
        ),
        (
            parse_since,
            "?since=x",
            "since: invalid value 'x' (expected the id of a notification, up to 16 digits)",
        ),
        (
            parse_since,
            "?since=" + "9" * 5000,
            f"since: invalid value '{'9' * 100}…' "
            "(expected the id of a notification, up to 16 digits)",
        ),
    ],
)
def test_invalid_value_is_shown(
    parse: Callable[[web.Request], object], query: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(get(f"/{query}"))
    assert str(caught.value) == sentence


@pytest.mark.parametrize("value", ["", "a/b", "a%0A", "%C3%A9", "%EF%BC%91", "x" * 65])
def test_other_topics_are_invalid(value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^topic: invalid value "):
        parse_topic(get(f"/?topic={value}"))


@pytest.mark.parametrize("value", ["-1", "+1", "1e3", "%D9%A1", "1%0A", "9" * 17])
def test_other_ids_are_invalid(value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^since: invalid value "):
        parse_since(get(f"/?since={value}"))


def test_websocket_request_has_defaults() -> None:
    assert websocket_request(get("/ws"), None) == SubscribeRequest(
        ("main",), None, Format.TEXT, None
    )


def test_websocket_request_has_every_parameter() -> None:
    parsed = websocket_request(get("/ws?topic=a&format=json&since=7"), "192.0.2.1")
    assert parsed == SubscribeRequest(("a",), 7, Format.JSON, "192.0.2.1")


@pytest.mark.parametrize("value", ["", "xml", "JSON", "json%20"])
def test_other_formats_are_invalid(value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^format: invalid value '.*' \(expected text or j"):
        websocket_request(get(f"/ws?format={value}"), None)


@pytest.mark.parametrize("query", ["?since=1", "?format=text&since=1"])
def test_text_format_cannot_resume(query: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        websocket_request(get(f"/ws{query}"), None)
    assert str(caught.value) == ("since requires format=json: the text format cannot report gaps.")


@pytest.mark.parametrize(
    ("query", "header", "since"),
    [
        ("", None, None),
        ("", "", None),
        ("?since=5", None, 5),
        ("?since=5", "", 5),
        ("?since=5", "7", 7),
        ("?since=invalid", "7", 7),
        ("?since=5", "not ours", 0),
        ("", "9" * 17, 0),
        ("?since=", None, None),
        ("?lastEventId=7", None, 7),
        ("?since=5&lastEventId=7", "", 7),
        ("?since=5&lastEventId=", None, 5),
        ("?lastEventId=not%20ours", None, 0),
        ("?lastEventId=5", "7", 7),
    ],
)
def test_last_event_id_takes_precedence(query: str, header: str | None, since: int | None) -> None:
    headers = {} if header is None else {"Last_Event_ID": header}
    parsed = event_stream_request(get(f"/events{query}", **headers), None)
    assert parsed == SubscribeRequest(("main",), since, Format.JSON, None)


@pytest.mark.parametrize(
    ("query", "admin"),
    [("", False), ("?client=admin", True), ("?client=Admin", False), ("?client=user", False)],
)
def test_admin_is_exact(query: str, admin: bool) -> None:
    assert is_admin(get(f"/ws{query}")) is admin
