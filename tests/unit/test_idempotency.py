"""Retried requests: published at most once for each key, and answered with the first result."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aionotify.idempotency
from aionotify.errors import KeyReused
from aionotify.idempotency import (
    KEY,
    MAX_KEYS,
    TTL,
    Idempotency,
    Scope,
    fingerprint_of,
    parse_key,
)
from aionotify.notification import Draft, Notification
from tests.support.loop import hand_turned

# ------------------------------------------------------------------------------------- the header


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (r'"a \"b\" \\ c, ~"', r'a "b" \ c, ~'),
        ('"' + r"\\" * 128 + '"', "\\" * 128),
        ('" "', " "),
        ("x" * 128, "x" * 128),
    ],
)
def test_header_is_a_string(value: str, key: str | None) -> None:
    """Of RFC 8941 §3.3.3: with its two escapes, or bare, but not a list of several."""
    assert parse_key(value) == key


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            '""',
            '"',
            '"a',
            'a"',
            '"a"b"',
            '"a", "b"',
            "a,b",
            "a b",
            '"a";p=1',
            '"\\a"',
            '"a\\"',
        ),
        *(
            "a\\",
            '"é"',
            "é",
            '"\t"',
            "\x7f",
            f'"{"x" * 129}"',
            "x" * 129,
            '"a"\n',
            "a\n",
            "a\udcff",
        ),
    ],
)
def test_other_header_is_malformed(value: str) -> None:
    assert parse_key(value) is None


@given(st.from_regex(KEY, fullmatch=True))
def test_every_key_can_be_sent(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_key(f'"{escaped}"') == key


def test_fingerprint_tells_messages_apart() -> None:
    drafts = [
        *([Draft("a", "xy", 2)], [Draft("a", "x", 1), Draft("a", "y", 1)], [Draft("a", "x", 1)]),
        *([Draft("a", "x", 2, b"y")], [Draft("a", "", 0, b"xy")], []),
    ]
    for with_topics in (False, True):
        assert len({fingerprint_of(*each, with_topics=with_topics) for each in drafts}) == 6
    one, other = Draft("a", "x", 1), Draft("b", "x", 1)
    assert fingerprint_of(one) == fingerprint_of(other)
    assert fingerprint_of(one, with_topics=True) != fingerprint_of(other, with_topics=True)


# --------------------------------------------------------------------------------------- attempts


def scope(key: str = "k", sender: bytes = b"", *topics: str) -> Scope:
    """Return a scope, by default that of everybody in `main`."""
    return Scope(sender, topics or ("main",), key)


class Publisher:
    """Publishes one notification for each call, with the number of the call as its id."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.calls = 0
        self.idempotency = Idempotency(lambda: self.now)

    async def publish(self) -> list[Notification]:
        self.calls += 1
        return [Notification(self.calls, 0, "x")]

    async def once(self, scope: Scope, body: bytes = b"") -> int:
        """Return the id of the result."""
        (notification,) = await self.idempotency.once(scope, body, self.publish)
        return notification.id


@pytest.fixture
def publisher() -> Publisher:
    """A publisher that has published nothing."""
    return Publisher()


async def test_retry_gets_first_result(publisher: Publisher) -> None:
    assert [await publisher.once(scope()) for _ in range(3)] == [1, 1, 1]


async def test_sender_topics_and_key_are_the_scope(publisher: Publisher) -> None:
    scopes = [scope(), scope("other"), scope("k", b"sender"), scope("k", b"", "a", "main")]
    assert [await publisher.once(each) for each in scopes * 2] == [1, 2, 3, 4] * 2


async def test_other_body_is_refused(publisher: Publisher) -> None:
    await publisher.once(scope(), b"a")
    with pytest.raises(KeyReused, match=r"^The idempotency key was used for another message "):
        await publisher.once(scope(), b"b")
    assert await publisher.once(scope(), b"a") == publisher.calls == 1


async def test_result_is_remembered_for_ten_minutes(publisher: Publisher) -> None:
    await publisher.once(scope())
    publisher.now += TTL - 1
    assert await publisher.once(scope()) == 1
    publisher.now += 1
    assert await publisher.once(scope()) == 2
    assert len(publisher.idempotency) == 1


async def test_oldest_results_are_dropped(publisher: Publisher) -> None:
    for number in range(MAX_KEYS + 1):
        await publisher.once(scope(f"{number}"))
    assert len(publisher.idempotency) == MAX_KEYS
    assert await publisher.once(scope("1")) == 2
    assert await publisher.once(scope("0")) == MAX_KEYS + 2


async def test_results_are_bounded_in_bytes(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But the last one is remembered, whatever its size."""
    monkeypatch.setattr(aionotify.idempotency, "MAX_BYTES", 2600)
    for number in range(10):
        await publisher.once(scope(f"{number}"))
    assert len(publisher.idempotency) == 5

    async def publish_large() -> list[Notification]:
        publisher.calls += 1
        return [Notification(99, 0, "x" * 5000)]

    for _ in range(2):
        (found,) = await publisher.idempotency.once(scope("large"), b"", publish_large)
        assert (found.id, len(publisher.idempotency), publisher.calls) == (99, 1, 11)
    await publisher.once(scope("next"))
    assert await publisher.once(scope("next")) == 12
    assert publisher.idempotency._bytes == 501


async def test_cancelled_before_it_began_is_no_attempt(publisher: Publisher) -> None:
    first = asyncio.create_task(publisher.once(scope()))
    await asyncio.sleep(0)
    (attempt,) = publisher.idempotency._attempts.values()
    attempt.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await publisher.once(scope()) == 1


# ---------------------------------------------------------------------------------- interleavings


@dataclass
class Attempt:
    """A request, and what it has led to."""

    key: str
    body: bytes
    task: "asyncio.Task[list[Notification]]"


@dataclass
class Model:
    """Publications that are finished by hand, in an order that Hypothesis chooses."""

    now: float = 1000.0
    started: list[tuple[str, bytes, "asyncio.Future[list[Notification]]"]] = field(
        default_factory=list
    )
    published: list[tuple[float, str, bytes, Notification]] = field(default_factory=list)

    def publication(self, key: str, body: bytes) -> Coroutine[Any, Any, list[Notification]]:
        """Return one that waits until it is finished."""

        async def publish() -> list[Notification]:
            future = asyncio.get_running_loop().create_future()
            self.started.append((key, body, future))
            result: list[Notification] = await future
            return result

        return publish()

    def finish(self, number: int, *, success: bool) -> None:
        """Finish one that is under way."""
        if self.started:
            key, body, future = self.started.pop(number % len(self.started))
            if not success:
                future.set_exception(OSError("failed"))
                return
            notification = Notification(len(self.published) + 1, 0, body.decode())
            self.published.append((self.now, key, body, notification))
            future.set_result([notification])


ATTEMPT, FINISH, FAIL, CANCEL, WAIT = "attempt", "finish", "fail", "cancel", "wait"
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*[ATTEMPT] * 3, *[FINISH] * 2, FAIL, CANCEL, WAIT]),
        st.integers(0, 7),
        st.sampled_from([b"a", b"a", b"b"]),
    ),
    max_size=40,
)


@given(STEPS)
def test_published_at_most_once_while_remembered(steps: list[tuple[str, int, bytes]]) -> None:
    """Whatever fails, is cancelled, comes at the same time, or comes late."""
    with hand_turned() as loop:
        model = Model()
        idempotency = Idempotency(lambda: model.now)
        attempts: list[Attempt] = []
        for step, number, body in steps:
            if step == ATTEMPT:
                key = f"k{number % 2}"
                publish = partial(model.publication, key, body)
                once = idempotency.once(scope(key), body, publish)
                attempts.append(Attempt(key, body, loop.create_task(once)))
            elif step in (FINISH, FAIL):
                model.finish(number, success=step == FINISH)
            elif step == CANCEL and attempts:
                attempts[number % len(attempts)].task.cancel()
            elif step == WAIT:
                model.now += TTL / 2
            loop.settle()
            # One publication for each key at a time.
            assert len({key for key, _, _ in model.started}) == len(model.started)
        while model.started:
            model.finish(0, success=True)
            loop.settle()
        check(model, attempts)


def check(model: Model, attempts: list[Attempt]) -> None:
    """Check what was published, and every result."""
    for index, (time, key, _, _) in enumerate(model.published):
        earlier = [then for then, other, _, _ in model.published[:index] if other == key]
        # A publication that was under way when an earlier result expired may end at any time after.
        assert all(time - then >= TTL for then in earlier)
    notifications = {each[3].id: each for each in model.published}
    for attempt in attempts:
        assert attempt.task.done()
        if attempt.task.cancelled():
            continue
        error = attempt.task.exception()
        if error is None:
            (found,) = attempt.task.result()
            _, key, body, notification = notifications[found.id]
            assert (key, body) == (attempt.key, attempt.body)
            assert found is notification
        elif isinstance(error, KeyReused):
            others = [body for _, key, body, _ in model.published if key == attempt.key]
            assert any(body != attempt.body for body in others)
        else:
            assert isinstance(error, OSError)
