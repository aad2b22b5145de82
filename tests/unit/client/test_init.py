"""The interface of the client; tests/system/test_client.py has its behavior."""

import inspect
import logging

import pytest

from aionotify import client
from aionotify.client import State, listen, publish


def test_client_exports_its_interface() -> None:
    assert client.__all__ == ["Gap", "Notification", "Refused", "State", "listen", "publish"]


def test_only_address_topic_and_message_are_positional() -> None:
    """So that parameters can be added without breaking a call."""
    for function, names in ((listen, ["url", "topic"]), (publish, ["url", "message", "topic"])):
        parameters = inspect.signature(function).parameters.values()
        assert [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY] == names


def test_state_is_a_sentence() -> None:
    assert str(State(connected=True)) == "connected"
    assert str(State(False, "connection lost", 0.349)) == "connection lost; retrying in 0.3 s"


def test_states_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """As a warning, a lost connection is seen even if the program does not set logging up."""
    with caplog.at_level(logging.INFO):
        client.log_state(State(connected=True))
        client.log_state(State(False, "connection lost", 1))
    assert [(each.name, each.levelname, each.message) for each in caplog.records] == [
        ("aionotify.client", "INFO", "connected"),
        ("aionotify.client", "WARNING", "connection lost; retrying in 1.0 s"),
    ]


def test_wrong_address_is_rejected_by_the_call() -> None:
    """And not when the first notification is waited for."""
    with pytest.raises(ValueError, match=r"url: invalid value 'localhost:8000' \(expected"):
        listen("localhost:8000")
