"""`openapi.json` describes this server, and `docs.html` renders all of it."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from openapi_spec_validator import OpenAPIV31SpecValidator

import aionotify
from aionotify import create_app
from aionotify.access.tokens import COOKIE
from aionotify.fields import FIELDS
from tests.generate.docs_page import DOCUMENT, PAGE, as_html, files
from tests.support import alone, converse, exchange
from tests.support.app import Serve
from tests.support.jwts import SECRET, token

HINT = "run: python -m tests.generate"


@pytest.fixture
async def port(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]]) -> int:
    """Start a server without tokens and memcached."""
    port = (await aiohttp_server(create_app(alone()))).port
    assert port is not None
    return port


async def served_document(port: int) -> dict[str, Any]:
    """Return the document as clients get it."""
    document: dict[str, Any] = json.loads(
        (await exchange(port, b"GET /openapi.json HTTP/1.1")).body
    )
    return document


async def test_document_is_valid(port: int) -> None:
    document = await served_document(port)
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"


async def test_components_are_all_used(port: int) -> None:
    """The frames of a WebSocket in `x-frames`, which linters do not read."""
    text = (await exchange(port, b"GET /openapi.json HTTP/1.1")).body.decode()
    used = set(re.findall(r'"\$ref": "#/components/(\w+/\w+)"', text))
    components = json.loads(text)["components"]
    del components["securitySchemes"]  # they are used by name, not by reference
    assert used == {f"{kind}/{name}" for kind, named in components.items() for name in named}


async def test_document_has_version_of_package(port: int) -> None:
    """The version is written in the file, so a release has to change both."""
    assert (await served_document(port))["info"]["version"] == aionotify.__version__


async def test_document_lists_all_routes(port: int) -> None:
    described = {
        (path, method)
        for path, methods in (await served_document(port))["paths"].items()
        for method in methods
    }
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in create_app(alone()).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert described == routes


async def test_responses_have_described_fields(port: int) -> None:
    schemas = (await served_document(port))["components"]["schemas"]
    for request, name in (
        (b"GET /", "Greeting"),
        (b"GET /health", "Health"),
        (b"GET /messages", "Messages"),
        (b"GET /notifications", "Notifications"),
        (b"GET /nope", "Error"),
    ):
        answer = await exchange(port, b"%b HTTP/1.1" % request)
        assert list(json.loads(answer.body)) == schemas[name]["required"]
        optional = ["more"] if name == "Notifications" else []
        assert list(schemas[name]["properties"]) == [*schemas[name]["required"], *optional]
    message = b"POST /notifications HTTP/1.1\r\nContent-Length: 5\r\nConnection: close"
    answer_bytes = await converse(port, message + b"\r\nHost: 127.0.0.1\r\n\r\nHello")
    notification = json.loads(answer_bytes.partition(b"\r\n\r\n")[2])
    described = schemas["Notification"]
    assert list(notification) == described["required"]
    assert list(described["properties"]) == [*described["required"], *FIELDS, "recent"]
    assert list(schemas["Message"]["properties"]) == ["message", *FIELDS]
    assert list(schemas["Line"]["properties"]) == ["topic", "message", *FIELDS]
    assert list(schemas["Frame"]["properties"]) == ["topic", "message", *FIELDS, "key"]
    for name in ("id", "topic"):
        assert re.search(described["properties"][name]["pattern"], notification[name])


async def test_frames_have_described_fields(port: int) -> None:
    """Of a client that resumes after an id that is too old: a gap, and then its position."""
    document = await served_document(port)
    schemas = document["components"]["schemas"]
    frames = document["paths"]["/ws"]["get"]["x-frames"]["server"]
    url = f"http://127.0.0.1:{port}/ws?client=admin&format=json&since=0"
    sent = [{"message": "Hello"}, {}]
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        seen = [await ws.receive_json() for _ in range(2)]
        for each in sent:
            await ws.send_json(each)
        seen += [await ws.receive_json() for _ in range(3)]
    names = ("Gap", "Subscribed", "Notification", "Accepted", "Problem")
    assert {each["$ref"].rpartition("/")[2] for each in frames} == {*names, "Authorized"}
    for name, frame in zip(names, seen, strict=True):
        described = schemas[name]
        assert list(frame) == described["required"]
        assert frame["type"] == described["properties"]["type"]["const"]
        if "id" in frame:
            assert re.search(described["properties"]["id"]["pattern"], frame["id"])


async def test_frames_of_expiring_tokens_are_described(serve: Serve) -> None:
    port = (await serve(jwt_secrets=(SECRET,))).port
    document = await served_document(port)
    schemas = document["components"]["schemas"]
    url = f"http://127.0.0.1:{port}/ws?format=json&token={token()}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        subscribed = await ws.receive_json()
        (name,) = schemas["Renewal"]["required"]
        await ws.send_json({name: token()})
        authorized = await ws.receive_json()
    assert list(subscribed) == list(schemas["Subscribed"]["properties"])
    assert list(authorized) == schemas["Authorized"]["required"]
    assert authorized["type"] == schemas["Authorized"]["properties"]["type"]["const"]
    assert document["components"]["securitySchemes"]["cookie"]["name"] == COOKIE


async def test_long_answer_is_described(port: int) -> None:
    schema = (await served_document(port))["components"]["schemas"]["Notifications"]
    url = f"http://127.0.0.1:{port}/notifications"
    first = ""
    async with aiohttp.ClientSession() as session:
        for _ in range(20):  # of 60 kB, more than 1 MiB together
            async with session.post(url, data="x" * 60_000) as response:
                first = first or (await response.json())["id"]
        async with session.get(f"{url}?since={first}") as response:
            document = await response.json()
    assert list(document) == list(schema["properties"])
    assert document["more"] is schema["properties"]["more"]["const"]


def test_docs_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == files()[PAGE], HINT


async def test_docs_page_has_whole_document(port: int) -> None:
    page = (await exchange(port, b"GET /docs HTTP/1.1")).body.decode()
    document = await served_document(port)
    for path, methods in document["paths"].items():
        assert f"<code>{path}</code>" in page
        for operation in methods.values():
            assert operation["summary"] in page
    for name in document["components"]["schemas"]:
        assert f"<h3>{name}</h3>" in page
    anchors = re.findall(r'\bid="([^"]*)"', page)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(anchors)


def test_docs_page_escapes_markup() -> None:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    document["info"]["description"] = document["tags"][0]["name"] = "<img src=x onerror=alert(1)>"
    page = as_html(document)
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
