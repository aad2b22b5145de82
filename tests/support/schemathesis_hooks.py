"""Loaded by schemathesis (`SCHEMATHESIS_HOOKS`): what the description of a request cannot say."""

import itertools
import json
from typing import Any

import schemathesis
from schemathesis.transport import SerializationContext

from aionotify.idempotency import parse_key

_numbers = itertools.count()


@schemathesis.serializer("application/x-ndjson")
def lines(context: SerializationContext, value: object) -> bytes:
    """Return one line for each item of an array; anything else is a line by itself."""
    items = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(each).encode() + b"\n" for each in items)


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], **options: Any
) -> None:
    """Make valid keys unique: with one that was used for another body, the response is 422."""
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if key is not None and parse_key(str(key)) is not None:
        case.headers["Idempotency-Key"] = f'"{next(_numbers)}"'
