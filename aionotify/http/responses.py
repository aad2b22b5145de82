"""How every answer over HTTP looks: compact JSON, errors included."""

from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from aionotify.encoders import compact_json
from aionotify.errors import (
    Forbidden,
    InvalidRequest,
    MessageTooBig,
    Unauthorized,
    Unavailable,
)

RETRY_AFTER = "5"
"""Seconds after which it makes sense to try again."""


def json_response(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """`document` without spaces, as raw UTF-8, with a Content-Type that names no charset."""
    body = compact_json(document)
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
    except InvalidRequest as error:
        return error_response(400, str(error))
    except Unauthorized as error:
        return error_response(401, str(error), {"WWW-Authenticate": "Bearer"})
    except Forbidden as error:
        return error_response(403, str(error))
    except MessageTooBig as error:
        response = error_response(413, str(error))
        response.force_close()
        return response
    except Unavailable as error:
        return error_response(503, str(error), {"Retry-After": RETRY_AFTER})
