"""Header fields that hold a list."""

from aiohttp import web


def list_header(request: web.Request, name: str) -> list[str]:
    """Return the non-empty elements of a list field, over all of its lines (RFC 9110 §5.6.1)."""
    # aiohttp keeps repeated lines apart, and `headers.get` returns the first of them only. Each
    # proxy on the way may append an element to the last line or add a line of its own.
    parts = ",".join(request.headers.getall(name, [])).split(",")
    return [part.strip() for part in parts if part.strip()]
