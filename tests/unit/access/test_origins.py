"""Origins, host names and preflights, without a server."""

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from aionotify.access.origins import (
    is_allowed_origin,
    is_loopback_host,
    is_preflight,
    preflight_response,
)
from aionotify.net import ANY_ORIGIN, NULL_ORIGIN, Origin, parse_origin

HOST = "notify.example"
APP = frozenset({parse_origin("https://app.example")})
ANY = frozenset({ANY_ORIGIN})
NONE: frozenset[str] = frozenset()

NAMES = st.text("abc1", min_size=1, max_size=5).map(lambda text: f"{text}.example")
PORTS = st.integers(1, 65535)


@given(scheme=st.sampled_from(["http", "https"]), host=NAMES, port=PORTS)
def test_own_origin_is_allowed(scheme: str, host: str, port: int) -> None:
    assert is_allowed_origin(f"{scheme}://{host}:{port}", NONE, f"{host}:{port}")
    assert is_allowed_origin(f"{scheme}://{host}", NONE, host)


@given(page=NAMES, host=NAMES, page_port=PORTS, port=PORTS)
def test_foreign_origin_is_not(page: str, host: str, page_port: int, port: int) -> None:
    same = (page, page_port) == (host, port)
    assert is_allowed_origin(f"http://{page}:{page_port}", NONE, f"{host}:{port}") == same


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://localhost:3000", "127.0.0.1:8000", True),
        ("https://[::1]:5173", "app.localhost", True),
        ("http://localhost:3000", HOST, False),
        ("http://localhost.evil", "localhost:8000", False),
        ("http://evil.example", "localhost:8000", False),
    ],
)
def test_loopback_pages_use_loopback_servers(origin: str, host: str, allowed: bool) -> None:
    assert is_allowed_origin(origin, NONE, host) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example", True),
        ("https://APP.example:443", True),
        ("http://app.example", False),
        ("https://app.example:444", False),
        ("https://x.app.example", False),
    ],
)
def test_allowed_origins_are_compared_as_a_whole(origin: str, allowed: bool) -> None:
    assert is_allowed_origin(origin, APP, HOST) is allowed


@pytest.mark.parametrize(
    "origin",
    ["", "null", "file://", "qrc://", "https://anywhere.example", "capacitor://app", "https://a/"],
)
def test_wildcard_includes_every_origin(origin: str) -> None:
    assert is_allowed_origin(origin, ANY, HOST)
    assert not is_allowed_origin(origin, APP, HOST)


@pytest.mark.parametrize("origin", ["x", "é", "http://", "https://a//", "https://u@a", "\udcff"])
def test_wildcard_rejects_malformed_origin(origin: str) -> None:
    assert not is_allowed_origin(origin, ANY, HOST)


@pytest.mark.parametrize("origin", ["file://", "file:///", "null"])
def test_origin_without_host_is_allowed_by_name(origin: str) -> None:
    allowed: frozenset[Origin | str] = frozenset({NULL_ORIGIN, parse_origin("file://")})
    assert is_allowed_origin(origin, allowed, HOST)
    assert not is_allowed_origin(origin, APP, HOST)
    assert not is_allowed_origin(origin, NONE, "")


def test_slash_at_the_end_is_no_other_origin() -> None:
    """The WebSocket client of golang.org/x/net sends it."""
    assert is_allowed_origin("http://localhost/", NONE, "localhost:8000")
    assert is_allowed_origin("https://app.example/", APP, HOST)
    assert not is_allowed_origin("https://evil.example/", APP, HOST)


@pytest.mark.parametrize("host", ["", "a b", "x:y:z", "[::1"])
def test_malformed_host_has_no_own_origin(host: str) -> None:
    assert not is_allowed_origin("http://notify.example", NONE, host)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST.:8000", "127.8.9.10:1", "[::1]:8000", "[::1]"],
)
def test_loopback_host(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "10.0.0.1:1",
        "[::2]",
        "localhost:1:evil",
        ":80",
    ],
)
def test_other_host_is_not_loopback(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("OPTIONS", {"Origin": "x", "Access-Control-Request-Method": "POST"}, True),
        ("POST", {"Origin": "x", "Access-Control-Request-Method": "POST"}, False),
        ("OPTIONS", {"Access-Control-Request-Method": "POST"}, False),
        ("OPTIONS", {"Origin": "x"}, False),
    ],
)
def test_preflight_is_recognized(method: str, headers: dict[str, str], expected: bool) -> None:
    assert is_preflight(make_mocked_request(method, "/", headers=headers)) is expected


def test_preflight_response_sorts_methods() -> None:
    request = make_mocked_request("OPTIONS", "/")
    response = preflight_response(request, {"POST", "GET", "HEAD"})
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    assert response.headers["Access-Control-Max-Age"] == "600"


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("X-Requested-With, traceparent,baggage", "X-Requested-With, traceparent, baggage"),
        ("cache-control", "cache-control"),
        ("a, b\x7f, c d, é, e", "a, e"),
        ("é", "Authorization, Content-Type, Last-Event-ID"),
    ],
)
def test_preflight_permits_every_header(asked: str, allowed: str) -> None:
    """But it repeats only valid names of headers."""
    headers = {"Access-Control-Request-Headers": asked}
    response = preflight_response(make_mocked_request("OPTIONS", "/", headers=headers), {"GET"})
    assert response.headers["Access-Control-Allow-Headers"] == allowed
