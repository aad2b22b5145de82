"""Addresses of endpoints; tests/system/test_client.py has the connections."""

import pytest

from aionotify.client.connection import Refused, endpoint, resume


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000", "http://localhost:8000/ws"),
        ("http://localhost:8000/", "http://localhost:8000/ws"),
        ("ws://localhost:8000", "http://localhost:8000/ws"),
        ("wss://example.com", "https://example.com/ws"),
        ("HTTPS://Example.com", "https://example.com/ws"),
        ("https://example.com/notify", "https://example.com/notify/ws"),
        ("https://example.com/notify/", "https://example.com/notify/ws"),
        ("https://example.com/a%20b/c", "https://example.com/a%20b/c/ws"),
        ("http://[::1]:8000", "http://[::1]:8000/ws"),
        ("https://user:password@example.com", "https://user:password@example.com/ws"),
    ],
)
def test_endpoint_is_below_the_address(url: str, expected: str) -> None:
    assert str(endpoint(url, "ws")) == expected


def test_address_resumes_after_the_position() -> None:
    address = endpoint("http://h", "ws", topic="main")
    assert resume(address, None).raw_query_string == "topic=main"
    assert resume(address, "7").raw_query_string == "topic=main&since=7"
    assert resume(resume(address, "7"), "8").raw_query_string == "topic=main&since=8"


def test_query_is_escaped() -> None:
    """A value cannot add a parameter of its own."""
    address = resume(endpoint("http://h", "ws", topic="a&since=9#x"), "1+ %2B")
    assert dict(address.query) == {"topic": "a&since=9#x", "since": "1+ %2B"}
    assert address.raw_fragment == ""


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "example.com",
        "/notify",
        "ftp://example.com",
        "http://",
        "http://example.com:port",
        "http://example.com?token=secret",
        "http://example.com#main",
    ],
)
def test_other_address_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        endpoint(url, "ws")


def test_refusal_has_status_and_sentence() -> None:
    refused = Refused(401, "A user token is required.")
    assert (refused.status, refused.detail) == (401, "A user token is required.")
    assert str(refused) == "A user token is required. (HTTP 401)"
