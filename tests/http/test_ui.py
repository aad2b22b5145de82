"""The page, its assets, and the description of the interface: what is served, and its truth."""

import asyncio
import json
import re
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from openapi_spec_validator import OpenAPIV31SpecValidator

import aionotify
from aionotify import create_app
from aionotify.endpoints.description import as_html
from tests.support import ROOT, alone, converse, exchange

WEB = ROOT / "aionotify" / "web"
PAGE = {"/ui": "index.html", "/ui/app.js": "app.js", "/ui/style.css": "style.css"}
TYPES = {
    "/ui": b"text/html; charset=utf-8",
    "/ui/app.js": b"text/javascript; charset=utf-8",
    "/ui/style.css": b"text/css; charset=utf-8",
    "/docs": b"text/html; charset=utf-8",
    "/openapi.json": b"application/json",
}
POLICY = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    b"connect-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; "
    b"form-action 'none'"
)
paths = pytest.mark.parametrize("path", TYPES)

Serve = Callable[[web.Application], Awaitable[TestServer]]


@pytest.fixture
async def port(aiohttp_server: Serve) -> int:
    """Of a server where both tokens are set: the page is open to all the same."""
    settings = alone(admin_tokens=("a" * 16,), user_tokens=("u" * 16,))
    port = (await aiohttp_server(create_app(settings))).port
    assert port is not None
    return port


@paths
async def test_its_headers(port: int, path: str) -> None:
    answer = await exchange(port, b"GET %b HTTP/1.1" % path.encode())
    assert answer.status == b"HTTP/1.1 200 OK"
    assert b"Content-Type: " + TYPES[path] in answer.headers
    assert b"Content-Length: %d" % len(answer.body) in answer.headers
    assert POLICY in answer.headers
    assert b"X-Content-Type-Options: nosniff" in answer.headers
    assert b"Referrer-Policy: no-referrer" in answer.headers
    assert b"Cache-Control: no-cache" in answer.headers
    head = await exchange(port, b"HEAD %b HTTP/1.1" % path.encode())
    assert head == (answer.status, answer.headers, b"")


@paths
async def test_who_has_it_already_is_told_so(port: int, path: str) -> None:
    request = b"GET %b HTTP/1.1" % path.encode()
    first = await exchange(port, request)
    (tag,) = (each[6:] for each in first.headers if each[:6].lower() == b"etag: ")
    assert re.fullmatch(rb'"[0-9a-f]{32}"', tag)
    for known in (tag, b'"other", W/' + tag, b"*"):
        answer = await exchange(port, request, b"If-None-Match: " + known)
        assert answer.status == b"HTTP/1.1 304 Not Modified"
        assert answer.body == b""
        assert b"Etag: " + tag in answer.headers
        assert POLICY in answer.headers
    answer = await exchange(port, request, b'If-None-Match: "other"')
    assert answer.status == b"HTTP/1.1 200 OK"
    assert answer.body == first.body


@pytest.mark.parametrize(("path", "name"), PAGE.items())
async def test_it_is_the_file(port: int, path: str, name: str) -> None:
    answer = await exchange(port, b"GET %b HTTP/1.1" % path.encode())
    assert answer.body == (WEB / name).read_bytes()


@pytest.mark.parametrize("path", ["/ui/", "/docs/", "/openapi.json/", "/ui/app.js/"])
async def test_a_trailing_slash_is_redirected(port: int, path: str) -> None:
    answer = await exchange(port, b"GET %b HTTP/1.1" % path.encode())
    assert answer.status == b"HTTP/1.1 307 Temporary Redirect"
    assert answer.headers[0] == b"Location: " + path.rstrip("/").encode()


@pytest.mark.parametrize("path", ["/ui/index.html", "/ui/openapi.json", "/ui/..%2fapp.py"])
async def test_no_other_file_is_served(port: int, path: str) -> None:
    answer = await exchange(port, b"GET %b HTTP/1.1" % path.encode())
    assert answer.status == b"HTTP/1.1 404 Not Found"


async def test_what_the_pages_refer_to_is_relative_and_served(port: int) -> None:
    for path in ("/ui", "/docs"):
        text = (await exchange(port, b"GET %b HTTP/1.1" % path.encode())).body.decode()
        found = re.findall(r'(?:href|src)="([^"]*)"', text)
        assert "ui/style.css" in found
        for each in found:
            if not each.startswith("data:"):
                assert not each.startswith(("/", "http")), each
                answer = await exchange(port, b"GET /%b HTTP/1.1" % each.encode())
                assert answer.status == b"HTTP/1.1 200 OK", each


async def test_nothing_comes_from_elsewhere_and_all_of_it_is_small(port: int) -> None:
    total = 0
    for path in PAGE:
        body = (await exchange(port, b"GET %b HTTP/1.1" % path.encode())).body
        total += len(body)
        text = body.replace(b"http://www.w3.org/2000/svg", b"")  # a name, not an address
        assert not re.search(rb"""://|["'(`=]\s*//""", text), path
    assert total < 50 * 1024
    assert b"<script" not in (await exchange(port, b"GET /docs HTTP/1.1")).body


def test_nothing_is_in_the_markup_that_the_policy_forbids() -> None:
    markup = (WEB / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\bstyle=|\bon[a-z]+=|javascript:|<script(?![^>]* src=)", markup)
    script = (WEB / "app.js").read_text(encoding="utf-8")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Storage|cookie"
    assert not re.search(forbidden, script)


def test_its_script_is_short() -> None:
    assert len((WEB / "app.js").read_text(encoding="utf-8").splitlines()) < 400


async def test_its_script_is_javascript() -> None:
    node = shutil.which("node")
    assert node, f"node is missing: python3 {ROOT / 'tests/run.py'}"
    arguments = (node, "--input-type=module", "--check", "-")
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, problems = await process.communicate((WEB / "app.js").read_bytes())
    assert process.returncode == 0, problems.decode()


async def description(port: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        (await exchange(port, b"GET /openapi.json HTTP/1.1")).body
    )
    return document


async def test_the_description_is_valid(port: int) -> None:
    document = await description(port)
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == aionotify.__version__


async def test_the_description_has_the_paths_and_methods_of_the_server(port: int) -> None:
    described = {
        (path, method)
        for path, methods in (await description(port))["paths"].items()
        for method in methods
    }
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in create_app(alone()).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert described == routes


async def test_what_the_server_answers_has_the_members_described(aiohttp_server: Serve) -> None:
    port = (await aiohttp_server(create_app(alone()))).port
    assert port is not None
    schemas = (await description(port))["components"]["schemas"]
    for request, name in (
        (b"GET /", "Greeting"),
        (b"GET /health", "Health"),
        (b"GET /messages", "Messages"),
        (b"GET /notifications", "Notifications"),
        (b"GET /nope", "Error"),
    ):
        answer = await exchange(port, b"%b HTTP/1.1" % request)
        assert list(json.loads(answer.body)) == schemas[name]["required"]
        assert list(schemas[name]["properties"]) == schemas[name]["required"]
    message = b"POST /notifications HTTP/1.1\r\nContent-Length: 5\r\nConnection: close"
    answer_bytes = await converse(port, message + b"\r\nHost: 127.0.0.1\r\n\r\nHello")
    notification = json.loads(answer_bytes.partition(b"\r\n\r\n")[2])
    described = schemas["Notification"]
    assert list(notification) == described["required"]
    assert list(described["properties"]) == [*described["required"], "recent"]
    for name in ("id", "topic"):
        assert re.search(described["properties"][name]["pattern"], notification[name])


async def test_every_part_of_the_description_is_on_the_page_for_people(port: int) -> None:
    page = (await exchange(port, b"GET /docs HTTP/1.1")).body.decode()
    document = await description(port)
    for path, methods in document["paths"].items():
        assert f"<code>{path}</code></h3>" in page
        for operation in methods.values():
            assert operation["summary"] in page
    for name in document["components"]["schemas"]:
        assert f"<h3>{name}</h3>" in page


def test_the_page_for_people_takes_nothing_for_markup() -> None:
    document = json.loads((WEB / "openapi.json").read_text(encoding="utf-8"))
    document["info"]["description"] = document["tags"][0]["name"] = "<img src=x onerror=alert(1)>"
    page = as_html(document)
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_all_of_it_is_part_of_the_package() -> None:
    assert "aionotify = py.typed, web/*\n" in (ROOT / "setup.cfg").read_text(encoding="utf-8")
