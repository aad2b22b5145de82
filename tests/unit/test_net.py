"""Addresses and origins, read from text and compared."""

import asyncio

import pytest

from aionotify.net import (
    Address,
    Origin,
    is_loopback,
    is_safe_url,
    network_of,
    parse_origin,
    peer_address,
    peer_host,
)


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
    ("peer", "text", "host"),
    [
        (("192.0.2.1", 4711), "192.0.2.1:4711", "192.0.2.1"),
        (("::1", 4711, 0, 0), "[::1]:4711", "::1"),
        ("", "unknown", None),
        (None, "unknown", None),
    ],
)
def test_peer_is_read_with_and_without_its_port(peer: object, text: str, host: str | None) -> None:
    transport = asyncio.Transport({"peername": peer})
    assert (peer_address(transport), peer_host(transport)) == (text, host)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        (None, "unknown"),
        ("", "unknown"),
        ("192.0.2", "unknown"),
        ("example.com", "unknown"),
    ],
)
def test_network_is_that_of_the_address(address: str | None, network: str) -> None:
    assert network_of(address) == network


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


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://id.example/jwks.json", True),
        ("https://id.example:8443/jwks.json?tenant=1", True),
        ("https://[2001:db8::1]/", True),
        ("http://localhost/jwks", True),
        ("http://127.0.0.1:8080/jwks", True),
        ("http://[::1]/jwks", True),
        ("http://id.example/jwks", False),
        ("http://localhost.evil.example/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("http://127.0.0.1@evil.example/", False),
        ("https://user:password@id.example/", False),
        ("ftp://localhost/", False),
        ("file:///etc/passwd", False),
        ("//localhost/", False),
        ("https://", False),
        ("https://id.example:port/", False),
        ("https://[::1/", False),
        ("https://id.example/a b", False),
        ("https://id.example/\n", False),
        ("https://bücher.example/", False),
        ("", False),
    ],
)
def test_safe_url_cannot_be_changed_on_the_way(url: str, safe: bool) -> None:
    assert is_safe_url(url) is safe
