"""The parameters of a request. Everything here raises InvalidRequest for an invalid value."""

import re
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

from aionotify.errors import InvalidRequest
from aionotify.idempotency import KEY_FORMAT, parse_key
from aionotify.notification import MAIN, NAME, NAME_FORMAT
from aionotify.text import shorten

# [0-9] and no \d: that matches the digits of every script, and int() accepts them all.
_ID = re.compile(r"[0-9]{1,16}")

MAX_TOPICS = 50
"""Topics that one client can subscribe to, or poll, at once."""

MAX_PUBLISH_TOPICS = 100
"""Topics to which one request can publish a message."""


class Format(StrEnum):
    """The format in which a subscriber gets notifications: plain text, or JSON objects."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class SubscribeRequest:
    """A valid request to subscribe, for WebSocket clients and event streams."""

    topics: tuple[str, ...]

    since: int | None
    """The id after which to resume; None: start with the recent notifications."""

    format: Format

    client_address: str | None
    """The address that a trusted proxy reported, if any."""


def websocket_request(request: web.Request, client_address: str | None) -> SubscribeRequest:
    """Parse `/ws[?topic=][&format=][&since=]`."""
    topics = parse_topics(request, MAX_TOPICS)
    format, since = _parse_format(request), parse_since(request)
    if format is Format.TEXT and since is not None:
        raise InvalidRequest("since requires format=json: the text format cannot report gaps.")
    if format is Format.TEXT and len(topics) > 1:
        raise InvalidRequest("Several topics require format=json: text does not name the topic.")
    return SubscribeRequest(topics, since, format, client_address)


def event_stream_request(request: web.Request, client_address: str | None) -> SubscribeRequest:
    """Parse `/events[?topic=][&since=][&lastEventId=]`, and Last-Event-ID, which takes precedence.

    An EventSource sends the header when it reconnects, to the URL with the `since=` of its start.
    """
    topics, since = parse_topics(request, MAX_TOPICS), _parse_last_event_id(request)
    return SubscribeRequest(topics, since, Format.JSON, client_address)


def is_admin(request: web.Request) -> bool:
    """Return whether the client asks to be an admin: `?client=admin`, exactly."""
    return _parameter(request, "client") == "admin"


def parse_topic(request: web.Request) -> str:
    """Return `?topic=`, or the default topic."""
    name = _parameter(request, "topic")
    return MAIN if name is None else _check_topic(name)


def parse_topics(request: web.Request, limit: int) -> tuple[str, ...]:
    """Return the topics in `?topic=a,b`, each once, in this order; or the default topic."""
    text = _parameter(request, "topic")
    if text is None:
        return (MAIN,)
    names = tuple(dict.fromkeys(text.split(",")))
    if len(names) > limit:
        raise InvalidRequest(f"topic: {len(names)} topics (expected at most {limit})")
    return tuple(map(_check_topic, names))


def topics_to_read(request: web.Request) -> tuple[str, ...]:
    """Return the topics that a request wants to subscribe to or to read."""
    return parse_topics(request, MAX_TOPICS)


def _check_topic(name: str) -> str:
    if not NAME.fullmatch(name):
        raise _invalid("topic", name, NAME_FORMAT)
    return name


def parse_since(request: web.Request) -> int | None:
    """Return `?since=`, the id of a notification, or None if it is missing or empty."""
    # Empty: a client that has seen nothing yet. An EventSource would give up for good after a 400.
    text = _parameter(request, "since")
    if not text:
        return None
    if not _ID.fullmatch(text):
        raise _invalid("since", text, "the id of a notification, up to 16 digits")
    return int(text)


def parse_idempotency_key(request: web.Request) -> str | None:
    """Return the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), or None."""
    values = request.headers.getall("Idempotency-Key", [])
    if not values:
        return None
    key = parse_key(values[0]) if len(values) == 1 else None
    if key is None:
        raise _invalid("Idempotency-Key", ", ".join(values), f"one string of {KEY_FORMAT}")
    return key


def _parse_last_event_id(request: web.Request) -> int | None:
    """Return the id to resume after: the header Last-Event-ID (WHATWG HTML §9.2.4), or `since`.

    Polyfills that cannot set headers send `lastEventId=` instead (Yaffle/EventSource).
    """
    # An EventSource that has seen no id sends no header; some polyfills send an empty one.
    text = request.headers.get("Last-Event-ID") or _parameter(request, "lastEventId")
    if not text:
        return parse_since(request)
    # An id that is not ours gets a gap, by way of 0, which is older than every id. An EventSource
    # cannot choose its header, and after any status but 200 it would never reconnect.
    return int(text) if _ID.fullmatch(text) else 0


def _parse_format(request: web.Request) -> Format:
    name = _parameter(request, "format")
    if name is None:
        return Format.TEXT
    try:
        return Format(name)
    except ValueError:
        raise _invalid("format", name, "text or json") from None


def _parameter(request: web.Request, name: str) -> str | None:
    # The last value of several counts, as in the FastAPI version: Starlette keeps that one.
    return request.query.getall(name, [None])[-1]


def _invalid(name: str, value: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"{name}: invalid value {shorten(value)!r} (expected {expected})")
