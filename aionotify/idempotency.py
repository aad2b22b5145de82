"""Retried requests: published once, and answered with the first result."""

import asyncio
import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import NamedTuple

from aionotify.budget import ENTRY_OVERHEAD
from aionotify.errors import KeyReused
from aionotify.notification import Draft, Notification

TTL = 600.0
"""Seconds for which a result is remembered."""

MAX_KEYS = 10_000
"""Results that are remembered; the oldest go first."""

MAX_BYTES = 32 * 1024 * 1024
"""Bytes of the remembered results, more or less. Most are in the histories at the same time."""

KEY = re.compile(r"[ -~]{1,128}")
KEY_FORMAT = "1 to 128 printable ASCII characters"

_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--\[\]-~]{1,128}")

Publish = Callable[[], Coroutine[None, None, list[Notification]]]


class Scope(NamedTuple):
    """What a retry has in common with the first attempt."""

    sender: bytes
    topics: tuple[str, ...]
    """Sorted: a program may collect them in a set, whose order varies."""
    key: str


class Result(NamedTuple):
    """What was published, from which body, and when."""

    fingerprint: bytes
    notifications: list[Notification]
    time: float


class Attempt(NamedTuple):
    """A publication that is under way, and from which body."""

    fingerprint: bytes
    task: asyncio.Task[list[Notification]]


def parse_key(value: str) -> str | None:
    """Return the key in the header `Idempotency-Key`, or None if it is malformed.

    It is a string of RFC 8941 §3.3.3, or the key alone, without quotation marks.
    """
    quoted = _QUOTED.fullmatch(value)
    if quoted is None:
        return value if _BARE.fullmatch(value) else None
    key = re.sub(r"\\(.)", r"\1", quoted[1])
    return key if KEY.fullmatch(key) else None


def fingerprint_of(*drafts: Draft, with_topics: bool = False) -> bytes:
    """Return a digest of messages and fields, in order, and of the topics `with_topics`."""
    digest = hashlib.blake2b(digest_size=16)
    for draft in drafts:
        topic = draft.topic.encode() if with_topics else b""
        for part in (topic, draft.message.encode(), draft.fields):
            # With its length: ("ab", "c") is not ("a", "bc").
            digest.update(b"%d:" % len(part))
            digest.update(part)
    return digest.digest()


def keyed(drafts: Sequence[Draft], scope: Scope) -> list[Draft]:
    """Return drafts with keys that are the same for each attempt with this scope, on any node."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (scope.sender, *map(str.encode, scope.topics), scope.key.encode()):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    prefix, counts = digest.hexdigest(), Counter[str]()
    keys = []
    for draft in drafts:
        # By topic, because a retry may name the topics in another order.
        counts[draft.topic] += 1
        keys.append(f"{prefix}.{draft.topic}.{counts[draft.topic]}")
    return [replace(draft, key=key) for draft, key in zip(drafts, keys, strict=True)]


class Idempotency:
    """Publishes once for each key, however often a request is repeated.

    A result is remembered from the end of the first attempt on. An attempt that fails leaves
    nothing behind: the next one is the first again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds."""
        self._clock = clock
        self._attempts: dict[Scope, Attempt] = {}
        self._results: dict[Scope, Result] = {}  # the oldest first
        self._bytes = 0

    def __len__(self) -> int:
        """Return the number of results that are remembered."""
        return len(self._results)

    async def once(self, scope: Scope, fingerprint: bytes, publish: Publish) -> list[Notification]:
        """Return the result of `publish`, or that of the first attempt with this key.

        While another attempt is under way, waits for it. `publish` is not cancelled together with
        the caller. Raises KeyReused if the first attempt had another fingerprint, and the errors of
        `publish`.
        """
        while True:
            self._drop_old()
            result = self._results.get(scope)
            if result is not None:
                _check(result.fingerprint, fingerprint)
                return result.notifications
            attempt = self._attempts.get(scope)
            if attempt is None:
                attempt = self._start(scope, fingerprint, publish)
                await _finished(attempt.task)
                return attempt.task.result()
            await _finished(attempt.task)
            if not attempt.task.cancelled() and attempt.task.exception() is None:
                # Not by way of the results: this one may have been dropped from there already.
                _check(attempt.fingerprint, fingerprint)
                return attempt.task.result()

    def _start(self, scope: Scope, fingerprint: bytes, publish: Publish) -> Attempt:
        task = asyncio.get_running_loop().create_task(publish())
        attempt = self._attempts[scope] = Attempt(fingerprint, task)
        # A callback, and not `finally` in the task, which never begins if it is cancelled at once.
        task.add_done_callback(lambda _: self._finish(scope, attempt))
        return attempt

    def _finish(self, scope: Scope, attempt: Attempt) -> None:
        """Remember the result of an attempt, unless it failed."""
        del self._attempts[scope]
        # Asking for the exception also keeps asyncio from reporting it if no caller is left.
        if not attempt.task.cancelled() and attempt.task.exception() is None:
            result = Result(attempt.fingerprint, attempt.task.result(), self._clock())
            self._results[scope] = result
            self._bytes += _size(result.notifications)
            self._drop_old()

    def _drop_old(self) -> None:
        """Drop results that are too old or too many, but never the last one for its size."""
        oldest = self._clock() - TTL
        while self._results:
            scope, result = next(iter(self._results.items()))
            full = len(self._results) > MAX_KEYS or self._bytes > MAX_BYTES
            if result.time > oldest and not (full and len(self._results) > 1):
                return
            del self._results[scope]
            self._bytes -= _size(result.notifications)


def _check(first: bytes, fingerprint: bytes) -> None:
    if first != fingerprint:
        raise KeyReused(
            "The idempotency key was used for another message within the last ten minutes "
            "(expected a new key for each message)."
        )


async def _finished(task: asyncio.Task[list[Notification]]) -> None:
    # Not `await task`: that would cancel it together with its caller. The client of that is gone,
    # but the retry that it has sent over another connection waits for the same task.
    await asyncio.wait([task])


def _size(notifications: Sequence[Notification]) -> int:
    # One text for many topics is one object.
    texts = {each.message: each.size for each in notifications}
    return sum(texts.values()) + (len(notifications) + 1) * ENTRY_OVERHEAD
