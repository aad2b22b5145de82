"""Addresses and origins, read from text and compared."""

import asyncio

import pytest

from aionotify.net import Address, Origin, is_loopback, parse_origin, peer_address


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("localhost", 80), "localhost:80"),
        (Address("127.0.0.1", 8000), "127.0.0.1:8000"),
        (Address("::1", 8000), "[::1]:8000"),
    ],
)
def test_address_is_written_for_urls(address: Address, text: str) -> None:
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://localhost", ("http", "localhost", 80)),
        ("https://app.example", ("https", "app.example", 443)),
        ("https://app.example:443", ("https", "app.example", 443)),
        ("HTTPS://App.EXAMPLE:8443", ("https", "app.example", 8443)),
        ("http://[::1]:5173", ("http", "[::1]", 5173)),
        ("http://127.0.0.1:3000", ("http", "127.0.0.1", 3000)),
        ("capacitor://localhost", ("capacitor", "localhost", 0)),
        ("chrome-extension://abc", ("chrome-extension", "abc", 0)),
        ("file://", ("file", "", 0)),
    ],
)
def test_origin_is_parsed(text: str, origin: Origin) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "*",
        "app.example",
        "http://",
        "https://:443",
        "file://:80",
        "https://app.example/",
        "https://app.example:",
        "https://app.example:123456",
        "https://a@app.example",
        "https://app.example, https://app.example",
        "https://*.example",
        "http://a b",
        "https://app.example\n",
        "https://é.example",
        "https://\u212aapp.example",
    ],
)
def test_malformed_origin_is_rejected(text: str) -> None:
    """U+212A is the Kelvin sign, which becomes `k` in lower case."""
    with pytest.raises(ValueError, match=r"^$"):
        parse_origin(text)


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (("192.0.2.1", 4711), "192.0.2.1:4711"),
        (("::1", 4711, 0, 0), "[::1]:4711"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_peer_address_is_written_for_the_log(peer: object, text: str) -> None:
    assert peer_address(asyncio.Transport({"peername": peer})) == text


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::2", False),
        ("::ffff:10.0.0.1", False),
        ("", False),
        ("example.com", False),
        ("notlocalhost", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_loopback_is_recognized(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
