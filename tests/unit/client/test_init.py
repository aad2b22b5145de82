"""The interface of the client; tests/system/test_client.py has its behavior."""

import inspect
import re
from pathlib import Path

from aionotify import client
from aionotify.client import listen, publish


def test_client_exports_its_interface() -> None:
    exported = ["Gap", "Notification", "Refused", "State", "Token", "listen", "publish"]
    assert client.__all__ == exported


def test_only_address_topic_and_message_are_positional() -> None:
    """So that parameters can be added without breaking a call."""
    expected = ((listen, ["server", "topics"]), (publish, ["server", "message", "topic"]))
    for function, names in expected:
        parameters = inspect.signature(function).parameters.values()
        assert [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY] == names


def test_wall_clock_is_read_in_one_place() -> None:
    """It may jump. There it stands in for the server's clock, if that cannot be asked.

    tests/unit/client/test_renewal.py shows that a wrong one does not matter otherwise.
    """
    readings = [
        (path.name, found)
        for path in Path(client.__file__).parent.glob("*.py")
        for found in re.findall(r"time\.time|now\(|today\(", path.read_text(encoding="utf-8"))
    ]
    assert readings == [("renewal.py", "now(")]
