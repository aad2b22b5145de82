"""Log lines about clients on a hand-turned clock: the first at once, the rest as numbers."""

import asyncio
import logging

import pytest

from aionotify.incidents import KEY_LIFETIME, LINES, MAX_KEYS, QUIET, WINDOW, Incidents

Log = pytest.LogCaptureFixture

REACHED = (
    "connection limit reached: 5 clients are connected, rejecting further ones with 503 "
    "(AIONOTIFY_MAX_CONNECTIONS, or the limit on open files)"
)


class Clock:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(caplog: Log) -> Clock:
    caplog.set_level(logging.INFO)
    return Clock()


@pytest.fixture
def incidents(clock: Clock) -> Incidents:
    return Incidents(clock)


def lines(caplog: Log) -> list[str]:
    """Return the lines since the last call."""
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_few_lines_are_all_logged(incidents: Incidents, clock: Clock, caplog: Log) -> None:
    for number in range(LINES):
        incidents.report("stalled", f"line {number}")
    assert lines(caplog) == [f"line {number}" for number in range(LINES)]
    clock.now += WINDOW
    incidents.settle()
    incidents.close()
    assert lines(caplog) == []


def test_many_lines_are_summed_up(incidents: Incidents, clock: Clock, caplog: Log) -> None:
    for number in range(5000):
        incidents.report("stalled", f"line {number}")
    assert len(lines(caplog)) == LINES
    clock.now += WINDOW - 1
    incidents.settle()
    assert lines(caplog) == []
    clock.now += 1
    incidents.settle()
    assert lines(caplog) == [f"{5000 - LINES:,} more in 60 s, the last: line 4999"]
    incidents.report("stalled", "the next window")
    assert lines(caplog) == ["the next window"]


def test_single_held_line_is_logged_as_it_was(incidents: Incidents, caplog: Log) -> None:
    incidents.report("token", "one", lines=1)
    incidents.report("token", "two", lines=1)
    incidents.close()
    assert lines(caplog) == ["one", "two"]


def test_kinds_are_counted_apart(incidents: Incidents, caplog: Log) -> None:
    for _ in range(2 * LINES):
        incidents.report("stalled", "stalled")
    incidents.report("silent", "silent")
    assert lines(caplog) == ["stalled"] * LINES + ["silent"]


def test_key_is_logged_once(incidents: Incidents, clock: Clock, caplog: Log) -> None:
    for _ in range(3):
        incidents.report_once("https://a.example", "a")
        incidents.report_once("https://b.example", "b")
    assert lines(caplog) == ["a", "b"]
    clock.now += KEY_LIFETIME
    incidents.settle()
    incidents.report_once("https://a.example", "a")
    assert lines(caplog) == ["a"]


def test_made_up_keys_are_bounded(incidents: Incidents, clock: Clock, caplog: Log) -> None:
    """In memory and in the log, however many a client makes up."""
    for number in range(10 * MAX_KEYS):
        incidents.report_once(f"https://{number}.example", "foreign")
    assert lines(caplog) == ["foreign"] * MAX_KEYS + [
        f"{MAX_KEYS} of these were logged, the next ones are not"
    ]
    clock.now += KEY_LIFETIME
    incidents.settle()
    incidents.report_once("https://another.example", "another")
    assert lines(caplog) == ["another"]


def test_limit_has_a_beginning_and_an_end(incidents: Incidents, clock: Clock, caplog: Log) -> None:
    """Two lines for thousands of rejections, with their number and how long it took."""
    for _ in range(3120):
        incidents.limit_reached(5)
        clock.now += 0.01
        incidents.settle(is_full=False)  # a client left, and the next one took its place
    assert lines(caplog) == [REACHED]
    clock.now += QUIET
    incidents.settle(is_full=True)
    assert lines(caplog) == []
    incidents.settle(is_full=False)
    assert lines(caplog) == ["accepting again after 41 s, 3,120 rejected"]
    incidents.limit_reached(5)
    assert lines(caplog) == [REACHED]


def test_limit_is_a_warning(incidents: Incidents, caplog: Log) -> None:
    incidents.limit_reached(5)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_missing_files_are_two_lines(incidents: Incidents, clock: Clock, caplog: Log) -> None:
    for _ in range(4):
        incidents.out_of_files("Too many open files")
        clock.now += 1
        incidents.settle()
    clock.now += QUIET
    incidents.settle()
    assert lines(caplog) == [
        "cannot accept connections (Too many open files): retrying every second (raise the limit "
        "on open files, ulimit -Hn)",
        "files are free again after 14 s, accepting failed 4 times",
    ]


async def test_end_logs_what_was_held_back(incidents: Incidents, caplog: Log) -> None:
    task = asyncio.create_task(incidents.settle_loop(lambda: False))
    await asyncio.sleep(0)
    for number in range(4):
        incidents.report("token", f"line {number}", lines=1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lines(caplog) == ["line 0", "3 more in 0 s, the last: line 3"]
