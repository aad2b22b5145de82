"""Loaded by schemathesis (`SCHEMATHESIS_HOOKS`): how it sends a body of NDJSON."""

import json

import schemathesis
from schemathesis.transport import SerializationContext


@schemathesis.serializer("application/x-ndjson")
def lines(context: SerializationContext, value: object) -> bytes:
    """Return one line for each item of an array; anything else is a line by itself."""
    items = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(each).encode() + b"\n" for each in items)
