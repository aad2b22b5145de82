"""Renewals of a token, on an event loop and its clock turned by hand."""

import asyncio
import gc
import json
import logging
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from aionotify.client import renewal
from aionotify.client.renewal import Renewal
from tests.support.loop import HandLoop

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""The server's time when a token is accepted."""


class Server:
    """One end of a connection: the time that it tells, and the tokens that it was sent."""

    def __init__(self, loop: HandLoop) -> None:
        self.clock: datetime | None = NOON
        self.sent: list[tuple[float, str]] = []
        """The time of the loop, and the token."""
        self.errors: list[Exception] = []
        """Raised by the function instead of returning a token, one after another."""
        self._loop = loop
        self._numbers = iter(range(100))

    async def time(self) -> datetime | None:
        return self.clock

    async def receive(self, frame: str) -> None:
        self.sent.append((self._loop.now, json.loads(frame)["token"]))

    async def make_token(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return f"token {next(self._numbers)}"


@pytest.fixture
def server(loop: HandLoop) -> Server:
    return Server(loop)


@pytest.fixture
def renewing(loop: HandLoop, server: Server) -> Iterator[Renewal]:
    """Renew the tokens of a connection, which is closed at the end."""
    made = Renewal(server.make_token, server.receive, server.time, 15)
    yield made
    run(loop, made.close())
    assert loop.timers == 0


def run(loop: HandLoop, coroutine: Coroutine[object, object, None]) -> None:
    task = loop.create_task(coroutine)
    loop.settle()
    task.result()


def accepted(loop: HandLoop, renewing: Renewal, seconds: float) -> None:
    """Let the server accept a token for `seconds` after noon."""
    run(loop, renewing.expires(NOON + timedelta(seconds=seconds)))


def test_token_is_renewed_before_it_expires(
    loop: HandLoop, server: Server, renewing: Renewal
) -> None:
    accepted(loop, renewing, 100)
    loop.advance(74)
    assert server.sent == []
    loop.advance(2)
    assert server.sent == [(75, "token 0")]
    loop.advance(1000)
    assert len(server.sent) == 1
    accepted(loop, renewing, 1100)
    loop.advance(1100)
    assert server.sent[1:] == [(1076 + 825, "token 1")]


@pytest.mark.parametrize("skew", [timedelta(days=-400), timedelta(days=400)])
def test_wall_clock_of_the_client_does_not_matter(
    loop: HandLoop,
    server: Server,
    renewing: Renewal,
    monkeypatch: pytest.MonkeyPatch,
    skew: timedelta,
) -> None:
    """It is wrong, and it jumps; the server's is asked once, and the rest is monotonic."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return NOON + skew

    monkeypatch.setattr(renewal, "datetime", Wrong)
    accepted(loop, renewing, 100)
    server.clock = NOON + skew
    loop.advance(1000)
    assert server.sent == [(75, "token 0")]


def test_own_clock_counts_if_the_server_tells_no_time(
    loop: HandLoop, server: Server, renewing: Renewal
) -> None:
    server.clock = None
    run(loop, renewing.expires(datetime.now(UTC) + timedelta(seconds=100)))
    loop.advance(80)
    ((when, _),) = server.sent
    assert when == pytest.approx(75, abs=1)


def test_expired_token_makes_no_endless_loop(
    loop: HandLoop, server: Server, renewing: Renewal
) -> None:
    """The server may accept one that has expired by a clock on the way."""
    for _ in range(5):
        accepted(loop, renewing, -1000)
        loop.advance(1.5)
    assert [when for when, _ in server.sent] == [1, 2.5, 4, 5.5, 7]


def test_later_expiry_replaces_the_first(loop: HandLoop, server: Server, renewing: Renewal) -> None:
    accepted(loop, renewing, 100)
    accepted(loop, renewing, 1000)
    loop.advance(749)
    assert server.sent == []
    run(loop, renewing.expires(None))
    loop.advance(1000)
    assert server.sent == []


def test_fixed_token_is_not_renewed(loop: HandLoop, server: Server) -> None:
    for token in ("fixed", None):
        made = Renewal(token, server.receive, server.time, 15)
        accepted(loop, made, 100)
        assert loop.timers == 0


def test_temporary_error_is_tried_again(
    loop: HandLoop, server: Server, renewing: Renewal, caplog: pytest.LogCaptureFixture
) -> None:
    """In the rest of the token's life, and then every second, until the connection ends."""
    server.errors = [OSError("no login now"), TimeoutError(), *[ConnectionError("no")] * 4]
    accepted(loop, renewing, 16)
    with caplog.at_level(logging.INFO):
        loop.advance(100)
    assert caplog.messages == [
        *("no new token yet: no login now", "no new token yet: TimeoutError"),
        *["no new token yet: no"] * 4,
    ]
    assert server.sent == [(12 + 3 + 5, "token 0")]


def test_other_error_is_reported(loop: HandLoop, server: Server, renewing: Renewal) -> None:
    """By asyncio, with its traceback; the next connection raises it to the caller."""
    server.errors = [KeyError("token")]
    accepted(loop, renewing, 100)
    loop.advance(100)
    run(loop, renewing.close())
    gc.collect()  # asyncio reports it when the task goes
    assert [type(each) for each in loop.errors] == [KeyError]
    loop.errors.clear()


def test_close_cancels_a_function_that_hangs(loop: HandLoop, server: Server) -> None:
    async def hangs() -> str:
        return str(await asyncio.Event().wait())

    made = Renewal(hangs, server.receive, server.time, 15)
    accepted(loop, made, 100)
    loop.advance(80)
    run(loop, made.close())
    assert loop.timers == 0
