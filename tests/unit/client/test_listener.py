"""Arguments and states of `listen`; tests/system/test_client.py has its behavior."""

import logging

import pytest

from aionotify.client import State, listen
from aionotify.client.listener import log_state


def test_state_is_a_sentence() -> None:
    assert str(State(connected=True)) == "connected"
    assert str(State(False, "connection lost", 0.349)) == "connection lost; retrying in 0.3 s"


def test_states_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """As a warning, a lost connection is seen even if the program does not set logging up."""
    with caplog.at_level(logging.INFO):
        log_state(State(connected=True))
        log_state(State(False, "connection lost", 1))
    assert [(each.name, each.levelname, each.message) for each in caplog.records] == [
        ("aionotify.client", "INFO", "connected"),
        ("aionotify.client", "WARNING", "connection lost; retrying in 1.0 s"),
    ]


def test_wrong_arguments_are_rejected_by_the_call() -> None:
    """And not when the first notification is waited for."""
    with pytest.raises(ValueError, match=r"server: invalid value 'localhost:8000' \(expected"):
        listen("localhost:8000")
    with pytest.raises(ValueError, match=r"topics: is empty \(expected"):
        listen("http://localhost:8000", [])
