"""HTTP responses: compact JSON, for errors too."""

import re
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from aionotify.encoders import compact_json
from aionotify.errors import RequestError

_SLASHES = re.compile("//+")


def json_response(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a response with `document` as JSON without spaces, in raw UTF-8."""
    return encoded_response(compact_json(document), status, headers)


def encoded_response(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a response with a JSON document that is already encoded."""
    # web.json_response would add `; charset=utf-8` to the type. Layer 1 has it without, and JSON
    # has no such parameter (RFC 8259 §11).
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def error_response(
    status: int, detail: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return the response `{"detail":"…"}`, in the format of FastAPI."""
    return json_response({"detail": detail}, status, headers)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors of handlers, and of middlewares inside this one, in JSON."""
    try:
        return await handler(request)
    except RequestError as error:
        response = error_response(error.status, str(error), error.headers)
        if error.closes_connection:
            response.force_close()
        return response
    except web.HTTPNotFound:
        return _redirect(request) or error_response(404, "Not Found")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return error_response(405, "Method Not Allowed", {"Allow": allowed})


def _redirect(request: web.Request) -> web.Response | None:
    """Return a redirect to the path without its superfluous slashes, or None if there is none.

    Starlette redirected `/health/` so, and layer 1 has it. The query is kept as it is.
    """
    path = _SLASHES.sub("/", request.path).rstrip("/") or "/"
    # aiohttp's normalize_path_middleware redirects only if the target resolves for the method;
    # Starlette's does for each. Resources include the prefix under which `app` is mounted.
    known = any(path == resource.canonical for resource in request.app.router.resources())
    if not known or path == request.path:
        return None
    location = _relative(path, request.rel_url.raw_path)
    query = request.rel_url.raw_query_string
    return web.Response(
        status=307, headers={"Location": f"{location}?{query}" if query else location}
    )


def _relative(target: str, base: str) -> str:
    """Return the reference that leads from the path `base` to the path `target` (RFC 3986 §5.2)."""
    # Relative, because a proxy may have removed a prefix from the path: behind `location /notify/`,
    # `/ui` would be a page of another application.
    return "../" * (base.count("/") - 1) + target[1:]
