"""Arguments of `publish`; tests/system/test_client_publish.py has its behavior."""

import pytest

from aionotify.client import publish
from aionotify.client.publisher import _structured_string


async def test_wrong_arguments_are_rejected_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match=r"server: invalid value"):
        await publish("localhost:8000", "Hello")
    with pytest.raises(ValueError, match=r"topic: invalid value 'a,b' \(expected a single topic"):
        await publish("http://localhost:8000", "Hello", "a,b")


def test_key_is_a_structured_string() -> None:
    """RFC 9651 §3.3.3: backslashes and quotes are escaped, everything else stays."""
    assert _structured_string("order 7") == '"order 7"'
    assert _structured_string(r'a"b\c') == r'"a\"b\\c"'
