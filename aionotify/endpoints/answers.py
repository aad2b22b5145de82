"""How every answer over HTTP looks: compact JSON, errors included."""

import json
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_response(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """`document` without spaces, as raw UTF-8, with a Content-Type that names no charset."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def error_response(
    status: int, detail: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """What went wrong, in a sentence."""
    return json_response({"detail": detail}, status, headers)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """404 and 405 as the contract has them; a known path with a trailing `/` is redirected.

    The redirect keeps the query as it is, and a prefix under which the application is mounted.
    """
    try:
        return await handler(request)
    except web.HTTPNotFound:
        path = request.path.rstrip("/")
        if any(path == resource.canonical for resource in request.app.router.resources()):
            query = request.rel_url.raw_query_string
            location = f"{path}?{query}" if query else path
            return web.Response(status=307, headers={"Location": location})
        return error_response(404, "Not Found")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return error_response(405, "Method Not Allowed", {"Allow": allowed})
