"""HTTP responses: compact JSON, for errors too."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from aionotify import errors
from aionotify.http.responses import (
    _relative,
    encoded_response,
    error_response,
    errors_as_json,
    json_response,
)
from aionotify.stats import RejectReason


def test_json_is_compact_utf_8() -> None:
    response = json_response({"a": ["é", 1]}, 201, {"X-Test": "yes"})
    assert response.body == '{"a":["é",1]}'.encode()
    assert (response.status, response.headers["X-Test"]) == (201, "yes")
    assert response.headers["Content-Type"] == "application/json"


def test_encoded_json_is_not_changed() -> None:
    response = encoded_response(b'{"a": 1}')
    assert (response.status, response.body) == (200, b'{"a": 1}')
    assert response.headers["Content-Type"] == "application/json"


def test_error_has_detail() -> None:
    response = error_response(400, "Not so.", {"X-Test": "yes"})
    assert (response.status, response.body) == (400, b'{"detail":"Not so."}')
    assert response.headers["X-Test"] == "yes"


async def respond(error: Exception, target: str = "/") -> web.Response:
    """Return the response to a request whose handler raises `error`."""

    async def handler(request: web.Request) -> web.StreamResponse:
        raise error

    app = web.Application()
    app.router.add_get("/known", handler)
    response = await errors_as_json(make_mocked_request("GET", target, app=app), handler)
    assert isinstance(response, web.Response)
    return response


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (errors.EmptyMessage("No."), 400, {}),
        (errors.Unauthorized("No.", RejectReason.TOKEN), 401, {"WWW-Authenticate": "Bearer"}),
        (errors.UnsupportedVersion("No."), 426, {"Sec-WebSocket-Version": "13"}),
        (errors.Unavailable("No.", RejectReason.STOPPING), 503, {"Retry-After": "5"}),
    ],
    ids=repr,
)
async def test_error_becomes_response(
    error: errors.RequestError, status: int, headers: dict[str, str]
) -> None:
    response = await respond(error)
    assert (response.status, response.body) == (status, b'{"detail":"No."}')
    assert headers.items() <= response.headers.items()
    assert response.keep_alive is not False


@pytest.mark.parametrize("error", [errors.MessageTooBig("No."), errors.RequestTimeout("No.")])
async def test_unread_body_closes_connection(error: errors.RequestError) -> None:
    assert (await respond(error)).keep_alive is False


async def test_unknown_path_is_404() -> None:
    response = await respond(web.HTTPNotFound(), "/unknown/")
    assert (response.status, response.body) == (404, b'{"detail":"Not Found"}')


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/known/", "../known"),
        ("/known//", "../../known"),
        ("/known/?a=%20&b", "../known?a=%20&b"),
    ],
)
async def test_superfluous_slash_redirects(target: str, location: str) -> None:
    response = await respond(web.HTTPNotFound(), target)
    assert (response.status, response.body) == (307, None)
    assert response.headers["Location"] == location


@pytest.mark.parametrize("prefix", ["", "/notify", "/a/b"])
@pytest.mark.parametrize("path", ["/ui/", "/ui//", "//ui", "///ui//", "/ui%2F"])
def test_redirect_stays_below_prefix(prefix: str, path: str) -> None:
    """A proxy may remove a prefix of the path, of which the server then knows nothing."""
    asked = URL(f"http://localhost{prefix}{path}", encoded=True)
    assert asked.join(URL(_relative("/ui", path))).path == f"{prefix}/ui"


async def test_wrong_method_is_405() -> None:
    response = await respond(web.HTTPMethodNotAllowed("PUT", ["POST", "GET"]))
    assert (response.status, response.body) == (405, b'{"detail":"Method Not Allowed"}')
    assert response.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize("error", [LookupError("ours"), web.HTTPGone()], ids=repr)
async def test_other_errors_pass(error: Exception) -> None:
    """A bug is left to `HttpProtocol`, which logs it with its traceback."""
    with pytest.raises(type(error)):
        await respond(error)
