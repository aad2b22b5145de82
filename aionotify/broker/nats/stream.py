"""The stream: its configuration, subjects and topics, and messages as notifications. Pure.

A topic is one token of a subject: `.` becomes `:`, which no topic contains. The payload is the
message, so that `nats pub aionotify.main Hello` works. The fields are headers, `Aionotify-Title`
and so on: `data` is JSON, and the others are plain text, or a JSON string if they begin with a
quotation mark (header values have no line breaks).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aionotify.errors import InvalidRequest
from aionotify.fields import FIELDS, NO_FIELDS, Fields, parse_fields
from aionotify.notification import NAME, Notification

DUPLICATE_WINDOW = 600
"""Seconds for which JetStream knows a key: as long as a result is remembered in one process."""

ATOMIC_SINCE = (2, 12)
"""The version of nats-server that can store a batch of messages all or none."""

_NANOSECONDS = 1_000_000_000
_PREFIX = "Aionotify-"


class Place(NamedTuple):
    """The place of a message in the stream: its number, and its time in ns since the epoch."""

    seq: int
    time: int


class Message(NamedTuple):
    """A message of the stream."""

    place: Place
    notification: Notification | None
    """None if it is not a valid notification: its place counts all the same."""
    key: str
    """Its key (Nats-Msg-Id), or an empty text."""


class Info(NamedTuple):
    """The state of the stream, as its leader knows it."""

    created: str
    first_seq: int
    last_seq: int
    messages: int
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream, named by its owner; the name is also the prefix of the subjects."""

    name: str
    max_message_bytes: int

    @property
    def live_subject(self) -> str:
        """The subject, with a wildcard, under which JetStream republishes stored messages."""
        return f"{self.name}-live.*"

    @property
    def leader_subject(self) -> str:
        """The subject on which JetStream tells that the stream has another leader."""
        return f"$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{self.name}"

    def subject(self, topic: str) -> str:
        """Return the subject of `topic`."""
        return f"{self.name}.{topic.replace('.', ':')}"

    def topic(self, subject: str) -> str:
        """Return the topic of `subject`, which may be no valid one."""
        return subject.removeprefix(f"{self.name}.").replace(":", ".")

    def config(
        self, *, replicas: int, per_topic: int, ttl: int, first_seq: int, atomic: bool
    ) -> dict[str, Any]:
        """Return the configuration with which the stream is created."""
        atomic_publish = {"allow_atomic": True} if atomic else {}
        return {
            "name": self.name,
            "subjects": [f"{self.name}.*"],
            "retention": "limits",
            # With memory storage, a stop of all servers would lose everything and give the same
            # numbers out again (nats-server 2.15.1).
            "storage": "file",
            "discard": "old",
            "num_replicas": replicas,
            "max_msgs_per_subject": per_topic,
            "max_age": ttl * _NANOSECONDS,
            # The server refuses a window that is longer than max_age.
            "duplicate_window": min(ttl, DUPLICATE_WINDOW) * _NANOSECONDS,
            "allow_direct": True,
            "first_seq": first_seq,
            "republish": {
                "src": f"{self.name}.*",
                "dest": f"{self.name}-live.{{{{wildcard(1)}}}}",
            },
            **atomic_publish,
        }

    def read(self, subject: str, headers: Mapping[str, str], payload: bytes) -> Message:
        """Return a message that JetStream sent. Raise ValueError if it has no valid place."""
        try:
            place = Place(int(headers["Nats-Sequence"]), parse_time(headers["Nats-Time-Stamp"]))
        except KeyError as error:
            raise ValueError(f"the header {error} is missing") from error
        key = headers.get("Nats-Msg-Id", "")
        topic = self.topic(headers.get("Nats-Subject", subject))
        return Message(place, self._notification(place, topic, headers, payload), key)

    def _notification(
        self, place: Place, topic: str, headers: Mapping[str, str], payload: bytes
    ) -> Notification | None:
        if not NAME.fullmatch(topic):
            return None
        try:
            message, fields = payload.decode().strip(), fields_of(headers)
        except (ValueError, InvalidRequest):  # no UTF-8, or a field that cannot be published
            return None
        if not message or len(message.encode()) + fields.size > self.max_message_bytes:
            return None
        return Notification(place.seq, place.time // 1_000_000, message, topic, fields.encoded)


def headers_of(fields: bytes) -> dict[str, str]:
    """Return the encoded fields of a notification as headers."""
    if not fields:
        return {}
    values = json.loads(b"{" + fields[1:] + b"}")
    # JSON in ASCII, also for text: line breaks and spaces at the ends would not survive.
    return {_PREFIX + name.title(): json.dumps(value) for name, value in values.items()}


def fields_of(headers: Mapping[str, str]) -> Fields:
    """Return the fields in the headers of a message. Raise InvalidRequest or ValueError."""
    found = {name: headers[_PREFIX + name.title()] for name in FIELDS if _has(headers, name)}
    if not found:
        return NO_FIELDS
    return parse_fields({name: _value(name, text) for name, text in found.items()})


def _has(headers: Mapping[str, str], name: str) -> bool:
    return _PREFIX + name.title() in headers


def _value(name: str, text: str) -> Any:
    if name == "data" or text.startswith('"'):
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
    return text


def parse_time(text: str) -> int:
    """Return an RFC 3339 time with up to nine decimals as ns since the epoch."""
    whole, _, decimals = text.removesuffix("Z").partition(".")
    if decimals and not (decimals.isascii() and decimals.isdigit()):
        raise ValueError(f"invalid time {text!r}")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * _NANOSECONDS + int(f"{decimals:0<9.9}")


def format_time(nanoseconds: int) -> str:
    """Return ns since the epoch as RFC 3339."""
    seconds, decimals = divmod(nanoseconds, _NANOSECONDS)
    whole = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
    return f"{whole}.{decimals:09d}Z"


def parse_info(answer: Mapping[str, Any]) -> Info:
    """Return the answer to a request for the stream's state. Raise ValueError for another one."""
    try:
        state = answer["state"]
        return Info(
            answer["created"],
            state["first_seq"],
            state["last_seq"],
            state["messages"],
            answer["config"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"unexpected format: {error!r}") from error


def problem_of(config: Mapping[str, Any], stream: Stream) -> str:
    """Return why nodes cannot use a stream with this configuration, or an empty text."""
    wanted = f"{stream.name}.*"
    republish = config.get("republish") or {}
    live = stream.live_subject.replace("*", "{{wildcard(1)}}")
    if republish.get("src") != wanted or republish.get("dest") != live:
        return f"it does not republish {wanted} as {live}"
    if republish.get("headers_only"):
        return "it republishes headers only"
    if not config.get("allow_direct"):
        return "it has no direct access (allow_direct)"
    return ""


def differences(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each limit of a stream that differs from the settings of this node."""
    names = ("max_msgs_per_subject", "max_age", "duplicate_window", "storage")
    return [
        f"{name} is {config.get(name)} (expected {wanted[name]})"
        for name in names
        if config.get(name) != wanted[name]
    ]
