"""Publishes, each notification once, however often it has to be tried."""

import asyncio
import random
import secrets
from collections.abc import Sequence
from typing import Any

from aionotify.broker.nats.connection import Connection
from aionotify.broker.nats.remote import parse_answer
from aionotify.broker.nats.stream import ATOMIC_SINCE, Stream, headers_of
from aionotify.errors import BrokerError, MessageTooBig, NoAnswer, Unavailable
from aionotify.notification import Draft
from aionotify.stats import ClusterStats, RejectReason

ACK_TIMEOUT = 1.0
"""Seconds in which JetStream must have acknowledged a message."""

DEADLINE = 15.0
"""Seconds in which a request must be done: electing a new leader takes 4 to 9, and on a busy
machine 11 until a publish is acknowledged."""

PAUSE = (0.05, 0.15)
"""Seconds, at random between these, until a refused attempt is repeated: at the latest."""

MAX_WAITING = 10_000
"""Notifications that wait for their acknowledgment; further ones are rejected."""

MAX_IN_FLIGHT = 256
"""Requests that are published at the same time; the others wait.

While there is no leader, each is published again every second. Without this limit, thousands of
them kept the servers so busy after an election that acknowledgments came too late, and again.
"""

MAX_BATCH = 1000
"""Messages that JetStream accepts in one batch."""

DUPLICATE_IN_BATCH = 10201
"""The error code for a batch of which JetStream has a message already (nats-server 2.15.1)."""

Attempt = tuple[Draft, str]
"""A notification and its key."""


class Unsure:
    """Whether an attempt had no answer, so that it may have been stored."""

    def __init__(self) -> None:
        self.unsure = False
        self.refusal = "too many requests are waiting"
        """Why the last attempt failed, for the log."""

    def error(self) -> Unavailable:
        """Return the error for a request that is given up."""
        outcome = "It is not known whether it was stored" if self.unsure else "Nothing was stored"
        return Unavailable(
            f"The cluster cannot store notifications at the moment. {outcome}. Please try again "
            "later, with the same Idempotency-Key if you have sent one.",
            RejectReason.NATS,
        )


class Publisher:
    """Stores notifications in the stream, and returns the numbers of their places."""

    def __init__(self, connection: Connection, stream: Stream, stats: ClusterStats) -> None:
        self._connection = connection
        self._stream = stream
        self._stats = stats
        self._waiting = 0
        self._in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)
        self.atomic = False
        """Whether the stream accepts batches that are stored all or none."""

    async def store(self, attempts: Sequence[Attempt], unsure: Unsure) -> list[int]:
        """Store notifications in order, each once for its key.

        Raises Unavailable, or is cancelled: then `unsure` tells whether some may be stored.
        """
        if self._waiting + len(attempts) > MAX_WAITING and self._waiting:
            raise unsure.error()
        self._check_sizes(attempts)
        self._waiting += len(attempts)
        try:
            async with self._in_flight:
                if len(attempts) > 1 and self.atomic and self._connection.version >= ATOMIC_SINCE:
                    return await self._store_many(attempts, unsure)
                return [await self._store_one(*each, unsure) for each in attempts]
        finally:
            self._waiting -= len(attempts)

    def _check_sizes(self, attempts: Sequence[Attempt]) -> None:
        limit = self._connection.max_message
        size = max(draft.size for draft, _ in attempts)
        # Otherwise the server would end the connection, and nats-py 2.16 give up for good.
        if self._connection.connected and size > limit:
            raise MessageTooBig(
                f"The message has {size} bytes; the limit of the NATS servers is {limit}."
            )

    async def _store_one(self, draft: Draft, key: str, unsure: Unsure) -> int:
        headers = {"Nats-Msg-Id": key, **headers_of(draft.fields)}
        while True:
            answer = await self._try(draft, headers, unsure)
            if answer is not None:
                unsure.unsure = True  # others of the same request may still fail
                return int(answer["seq"])

    async def _store_many(self, attempts: Sequence[Attempt], unsure: Unsure) -> list[int]:
        """Store all or none of up to `MAX_BATCH` notifications, and so on."""
        found: list[int] = []
        for start in range(0, len(attempts), MAX_BATCH):
            part = attempts[start : start + MAX_BATCH]
            last = await self._store_batch(part, unsure)
            if last is None:
                # Each of them is known: its acknowledgment tells its place.
                found += [await self._store_one(*each, unsure) for each in part]
            else:
                unsure.unsure = True
                found += range(last - len(part) + 1, last + 1)
        return found

    async def _store_batch(self, attempts: Sequence[Attempt], unsure: Unsure) -> int | None:
        """Store a batch, and return the number of its last message; None if it is known."""
        while True:
            batch = secrets.token_urlsafe(12)
            try:
                for number, (draft, key) in enumerate(attempts[:-1], 1):
                    # Without a request for an answer: the commit fails if one was lost.
                    headers = _batch_headers(batch, number, draft, key)
                    subject = self._stream.subject(draft.topic)
                    await self._connection.publish(subject, draft.message.encode(), headers)
                    if number % 100 == 0:
                        await asyncio.sleep(0)
            except BrokerError as error:
                unsure.refusal = str(error)
                await self._pause()
                continue
            draft, key = attempts[-1]
            headers = _batch_headers(batch, len(attempts), draft, key)
            try:
                answer = await self._try(draft, headers | {"Nats-Batch-Commit": "1"}, unsure)
            except _KnownError:
                return None
            if answer is not None:
                return int(answer["seq"])

    async def _try(
        self, draft: Draft, headers: dict[str, str], unsure: Unsure
    ) -> dict[str, Any] | None:
        """Publish once; return the acknowledgment, or None if it has to be tried again."""
        subject, payload = self._stream.subject(draft.topic), draft.message.encode()
        try:
            return parse_answer(
                await self._connection.request(subject, payload, headers, timeout=ACK_TIMEOUT)
            )
        except NoAnswer as error:
            unsure.unsure, unsure.refusal = True, str(error)
            self._stats.retries += 1
        except BrokerError as error:
            unsure.refusal = str(error)
            if error.code == DUPLICATE_IN_BATCH:
                raise _KnownError from error
            await self._pause()
        return None

    async def _pause(self) -> None:
        self._stats.retries += 1
        await self._connection.pause(random.uniform(*PAUSE))


class _KnownError(Exception):
    """JetStream has a message of a batch already."""


def _batch_headers(batch: str, number: int, draft: Draft, key: str) -> dict[str, str]:
    return {
        "Nats-Msg-Id": key,
        "Nats-Batch-Id": batch,
        "Nats-Batch-Sequence": str(number),
        **headers_of(draft.fields),
    }
