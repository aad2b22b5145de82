"""The page and its assets, `/docs` and `/openapi.json`, as static files."""

import asyncio
import gzip
import re
import shutil
from collections.abc import Awaitable, Callable
from urllib.parse import urljoin

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aionotify import create_app
from tests.support import ROOT, alone, exchange

WEB = ROOT / "aionotify" / "web"
HTML = b"text/html; charset=utf-8"
SCRIPT = b"text/javascript; charset=utf-8"
FILES = {
    # path: (file, content type)
    "/ui": ("index.html", HTML),
    "/ui/app.js": ("app.js", SCRIPT),
    "/ui/attention.js": ("attention.js", SCRIPT),
    "/ui/channel.js": ("channel.js", SCRIPT),
    "/ui/composer.js": ("composer.js", SCRIPT),
    "/ui/desktop.js": ("desktop.js", SCRIPT),
    "/ui/dom.js": ("dom.js", SCRIPT),
    "/ui/entries.js": ("entries.js", SCRIPT),
    "/ui/feed.js": ("feed.js", SCRIPT),
    "/ui/panel.js": ("panel.js", SCRIPT),
    "/ui/row.js": ("row.js", SCRIPT),
    "/ui/token.js": ("token.js", SCRIPT),
    "/ui/topics.js": ("topics.js", SCRIPT),
    "/ui/style.css": ("style.css", b"text/css; charset=utf-8"),
    "/client.js": ("client.js", SCRIPT),
    "/client/transports.js": ("transports.js", SCRIPT),
    "/docs": ("docs.html", HTML),
    "/docs/docs.js": ("docs.js", SCRIPT),
    "/docs/docs.css": ("docs.css", b"text/css; charset=utf-8"),
    "/openapi.json": ("openapi.json", b"application/json"),
}
GZIP = b"Accept-Encoding: gzip, deflate, br"
PAGE = [path for path in FILES if path.startswith(("/ui", "/client"))]
SCRIPTS = {name: path for path, (name, content_type) in FILES.items() if content_type == SCRIPT}
MAX_PAGE_BYTES = 40 * 1024
"""Of the page with everything that it loads, as browsers get it: compressed."""

MAX_SCRIPT_LINES = 300
POLICY = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    b"connect-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; "
    b"form-action 'none'"
)
paths = pytest.mark.parametrize("path", FILES)
scripts = pytest.mark.parametrize("name", SCRIPTS)


@pytest.fixture
async def port(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]]) -> int:
    """Start a server with both tokens set: these paths need none all the same."""
    settings = alone(admin_tokens=("a" * 16,), user_tokens=("u" * 16,))
    port = (await aiohttp_server(create_app(settings))).port
    assert port is not None
    return port


@paths
async def test_headers_are_exact(port: int, path: str) -> None:
    answer = await exchange(port, b"GET %b HTTP/1.1" % path.encode())
    assert answer.status == b"HTTP/1.1 200 OK"
    assert b"Content-Type: " + FILES[path][1] in answer.headers
    assert b"Content-Length: %d" % len(answer.body) in answer.headers
    assert POLICY in answer.headers
    assert b"X-Content-Type-Options: nosniff" in answer.headers
    assert b"Referrer-Policy: no-referrer" in answer.headers
    assert b"Cache-Control: no-cache" in answer.headers
    assert b"Vary: Accept-Encoding" in answer.headers
    assert not [each for each in answer.headers if each.startswith(b"Content-Encoding")]
    head = await exchange(port, b"HEAD %b HTTP/1.1" % path.encode())
    assert head == (answer.status, answer.headers, b"")


@paths
async def test_known_etag_gets_304(port: int, path: str) -> None:
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


@paths
async def test_file_is_compressed_for_clients_that_accept_it(port: int, path: str) -> None:
    """Only its encoding, length and ETag differ: the same one, but weak (RFC 9110 §8.8.3)."""
    request = b"GET %b HTTP/1.1" % path.encode()
    plain = await exchange(port, request)
    answer = await exchange(port, request, GZIP)
    assert gzip.decompress(answer.body) == plain.body
    assert len(answer.body) < len(plain.body)
    (tag,) = (each[6:] for each in plain.headers if each[:6].lower() == b"etag: ")
    changed = {b"Content-Length: %d" % len(plain.body), b"Etag: " + tag}
    assert {*plain.headers} - {*answer.headers} == changed
    assert {*answer.headers} - {*plain.headers} == {
        b"Content-Length: %d" % len(answer.body),
        b"Content-Encoding: gzip",
        b"Etag: W/" + tag,
    }
    head = await exchange(port, b"HEAD %b HTTP/1.1" % path.encode(), GZIP)
    assert head == (answer.status, answer.headers, b"")
    for known in (tag, b"W/" + tag, b"*"):
        current = await exchange(port, request, GZIP, b"If-None-Match: " + known)
        assert current.status == b"HTTP/1.1 304 Not Modified"
        assert current.body == b""
        assert {b"Etag: W/" + tag, b"Vary: Accept-Encoding"} <= {*current.headers}
        assert not [each for each in current.headers if each.startswith(b"Content-Encoding")]


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        ([], False),
        ([b""], False),
        ([b"gzip"], True),
        ([b"GZIP"], True),
        ([b"x-gzip"], True),
        ([b"br, gzip"], True),
        ([b"br", b"gzip"], True),
        ([b"br"], False),
        ([b"gzipped"], False),
        ([b"gzip;q=0"], False),
        ([b"gzip ; Q=0.000"], False),
        ([b"gzip;q=0.001"], True),
        ([b"*"], True),
        ([b"*;q=0"], False),
        ([b"gzip;q=0, *"], False),
        ([b"gzip, *;q=0"], True),
        ([b"gzip, identity"], True),
        ([b"gzip;q=0.5, identity"], False),
        ([b"gzip;q=0.5, identity;q=0.4"], True),
        ([b"identity;q=0"], False),
        ([b"gzip;q=2"], False),
        ([b"gzip;level=9"], False),
    ],
    ids=repr,
)
async def test_encoding_is_negotiated(
    port: int, accepted: list[bytes], is_compressed: bool
) -> None:
    """By the rules of RFC 9110 §12.5.3. A header that is not understood gets the plain file."""
    lines = [b"Accept-Encoding: " + each for each in accepted]
    answer = await exchange(port, b"GET /client.js HTTP/1.1", *lines)
    assert answer.status == b"HTTP/1.1 200 OK"
    assert (b"Content-Encoding: gzip" in answer.headers) == is_compressed


@paths
async def test_body_is_the_file(port: int, path: str) -> None:
    """Nothing is parsed or rendered by the server."""
    answer = await exchange(port, b"GET %b HTTP/1.1" % path.encode())
    assert answer.body == (WEB / FILES[path][0]).read_bytes()


def test_every_file_is_served() -> None:
    assert {path.name for path in WEB.iterdir()} == {name for name, _ in FILES.values()}


@pytest.mark.parametrize("path", ["/ui/", "/docs/", "/openapi.json/", "/ui/app.js/"])
async def test_trailing_slash_is_redirected(port: int, path: str) -> None:
    answer = await exchange(port, b"GET %b HTTP/1.1" % path.encode())
    assert answer.status == b"HTTP/1.1 307 Temporary Redirect"
    location = answer.headers[0].decode().removeprefix("Location: ")
    assert urljoin(path, location) == path.rstrip("/")


@pytest.mark.parametrize("path", ["/ui/index.html", "/ui/openapi.json", "/ui/..%2fapp.py"])
async def test_other_files_are_not_served(port: int, path: str) -> None:
    answer = await exchange(port, b"GET %b HTTP/1.1" % path.encode())
    assert answer.status == b"HTTP/1.1 404 Not Found"


async def test_links_are_relative_and_served(port: int) -> None:
    for path in ("/ui", "/docs"):
        text = (await exchange(port, b"GET %b HTTP/1.1" % path.encode())).body.decode()
        found = re.findall(r'(?:href|src)="([^"]*)"', text)
        assert ("ui/style.css" if path == "/ui" else "docs/docs.css") in found
        for each in found:
            if not each.startswith(("data:", "#")):
                assert not each.startswith(("/", "http")), each
                answer = await exchange(port, b"GET /%b HTTP/1.1" % each.encode())
                assert answer.status == b"HTTP/1.1 200 OK", each


@scripts
async def test_imported_modules_are_served(port: int, name: str) -> None:
    """A script imports others by relative URLs."""
    script = (WEB / name).read_text(encoding="utf-8")
    for each in re.findall(r'^import\b[^"]*"([^"]*)"', script, re.MULTILINE):
        assert each.startswith("."), each
        path = urljoin(SCRIPTS[name], each)
        answer = await exchange(port, b"GET %b HTTP/1.1" % path.encode())
        assert answer.status == b"HTTP/1.1 200 OK", each


def imports_of(name: str) -> set[str]:
    """Return the paths of the scripts that a script imports."""
    script = (WEB / name).read_text(encoding="utf-8")
    named = re.findall(r'^import\b[^"]*"([^"]*)"', script, re.MULTILINE)
    return {urljoin(SCRIPTS[name], each) for each in named}


def test_page_preloads_what_its_imports_import() -> None:
    """Each missing one is another round trip until the page works."""
    page = (WEB / "index.html").read_text(encoding="utf-8")
    preloaded = re.findall(r'rel="modulepreload" href="([^"]*)"', page)
    direct = imports_of("app.js")
    deeper, found = set[str](), direct
    while found := {each for path in found for each in imports_of(FILES[path][0])} - deeper:
        deeper |= found
    assert sorted(urljoin("/ui", each) for each in preloaded) == sorted(deeper - direct)


async def test_page_is_small_and_loads_nothing_external(port: int) -> None:
    total = 0
    for path in PAGE:
        body = (await exchange(port, b"GET %b HTTP/1.1" % path.encode(), GZIP)).body
        total += len(body)
        text = gzip.decompress(body).replace(
            b"http://www.w3.org/2000/svg", b""
        )  # a name, not an address
        assert not re.search(rb"""://|["'(`=]\s*//""", text), path
    assert total < MAX_PAGE_BYTES


@pytest.mark.parametrize("name", ["index.html", "docs.html"])
def test_markup_obeys_policy(name: str) -> None:
    """The policy would block inline styles and scripts, in silence but for the console."""
    markup = (WEB / name).read_text(encoding="utf-8")
    assert not re.search(r"<style|\bstyle=|\bon[a-z]+=|javascript:|<script(?![^>]* src=)", markup)


@scripts
def test_script_is_safe_and_short(name: str) -> None:
    """It never writes markup, evaluates text, or stores anything but the names of topics."""
    script = (WEB / name).read_text(encoding="utf-8")
    if name == "topics.js":
        script = re.sub(r"localStorage\.[gs]etItem\(KEY\b", "", script)
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Storage|cookie"
    assert not re.search(forbidden, script)
    assert len(script.splitlines()) <= MAX_SCRIPT_LINES


@scripts
async def test_script_is_valid_javascript(name: str) -> None:
    node = shutil.which("node")
    assert node, f"node is missing: python3 {ROOT / 'tests/run.py'}"
    arguments = (node, "--input-type=module", "--check", "-")
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, problems = await process.communicate((WEB / name).read_bytes())
    assert process.returncode == 0, problems.decode()


def test_package_includes_web_files() -> None:
    assert "aionotify = py.typed, web/*\n" in (ROOT / "setup.cfg").read_text(encoding="utf-8")
