"""What a request asks for: topic, format, since. Raises InvalidRequest where it makes no sense."""

import re

from aiohttp import web

from aionotify.errors import InvalidRequest
from aionotify.notification import MAIN

_TOPIC = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ID = re.compile(r"[0-9]{1,16}")


def parameter(request: web.Request, name: str, default: str) -> str:
    """The last value of a parameter in the query: what counted in the FastAPI version."""
    return request.query.getall(name, [default])[-1]


def topic(request: web.Request) -> str:
    """`?topic=`, or `main`."""
    name = parameter(request, "topic", MAIN)
    if not _TOPIC.fullmatch(name):
        raise InvalidRequest(
            f"The topic {_shown(name)} is not accepted; accepted are 1 to 64 letters, digits, "
            "'_', '.' and '-'."
        )
    return name


def since(request: web.Request) -> int | None:
    """`?since=`, the id of a notification."""
    text = parameter(request, "since", "")
    if "since" not in request.query:
        return None
    if not _ID.fullmatch(text):
        raise InvalidRequest(
            f"since={_shown(text)} is not accepted; accepted is the id of a notification, "
            "up to 16 digits."
        )
    return int(text)


def last_seen(request: web.Request) -> int | None:
    """The header Last-Event-ID, else `?since=` (WHATWG HTML §9.2.4).

    An id in the header that is none of ours is 0, which was never given: an EventSource that came
    from elsewhere cannot choose what it sends, and would never come again after an error.
    """
    text = request.headers.get("Last-Event-ID", "")
    if not text:
        return since(request)
    return int(text) if _ID.fullmatch(text) else 0


def wants_json(request: web.Request) -> bool:
    """`?format=json`; or `text`, the default."""
    name = parameter(request, "format", "text")
    if name not in ("text", "json"):
        raise InvalidRequest(f"format={_shown(name)} is not accepted; accepted are text and json.")
    return name == "json"


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 100 else repr(text[:100]) + "…"
