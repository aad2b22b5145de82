"""Requests to the stream: its state, its creation, and stored messages."""

import asyncio
import json
import time
from collections.abc import Collection
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from aionotify.broker.nats.connection import Connection
from aionotify.broker.nats.stream import (
    ATOMIC_SINCE,
    Info,
    Message,
    Stream,
    format_time,
    parse_info,
    problem_of,
)
from aionotify.errors import BrokerError, NoAnswer
from aionotify.settings import Settings

BATCH = 1000
BATCH_BYTES = 8 * 1024 * 1024
"""Messages, and bytes of them, that are fetched at once."""

TIMEOUT = 1.0
"""Seconds in which an answer must arrive, and in a batch the next message."""

INFO_TIMEOUTS = (0.1, 0.1, 0.5)
"""Seconds in which the leader must answer, of one attempt after another.

A question has no answer while there is no leader, which often takes less than 0.1 s.
"""

NOT_FOUND, NAME_IN_USE, NO_MESSAGE = 10059, 10058, 10037
TOO_FEW_SERVERS = (10005, 10074)
"""Error codes of JetStream (nats-server 2.15.1)."""

_END, _NONE = ("204", "404")
"""Statuses of Direct Get: the end of a batch, and no message at all."""


class Batch(NamedTuple):
    """Stored messages that follow each other."""

    messages: list[Message]
    to_the_end: bool
    """Whether the replica that sent them had no more."""


class Remote:
    """The stream, as the servers have it."""

    def __init__(self, connection: Connection, stream: Stream, settings: Settings) -> None:
        self._connection = connection
        self._stream = stream
        self._settings = settings

    def wanted(self) -> dict[str, Any]:
        """Return the configuration that this node gives to a new stream."""
        settings = self._settings
        return self._stream.config(
            replicas=settings.nats_replicas,
            per_topic=max(settings.history_limit, settings.recent_limit),
            ttl=settings.recent_ttl,
            # Ids rise even if the stream is deleted and created again.
            first_seq=int(time.time() * 1_000_000),
            atomic=self._connection.version >= ATOMIC_SINCE,
        )

    async def info(self, *, create: bool = True) -> Info:
        """Ask the leader for the state of the stream, which is created if needed.

        Raises BrokerError, also if the stream cannot be used.
        """
        try:
            return await self._ask("INFO")
        except BrokerError as error:
            if error.code != NOT_FOUND or not create:
                raise
        try:
            return await self._ask("CREATE", self.wanted())
        except BrokerError as error:
            if error.code in TOO_FEW_SERVERS:
                raise BrokerError(
                    f"AIONOTIFY_NATS_REPLICAS: {self._settings.nats_replicas} replicas need as "
                    f"many servers ({error})",
                    error.code,
                ) from error
            if error.code != NAME_IN_USE:
                raise
        return await self._ask("INFO")  # another node was faster

    async def subjects(self) -> dict[str, int]:
        """Return the number of stored messages by subject."""
        found: dict[str, int] = {}
        while True:
            # In pages of 100,000 (nats-server 2.15.1).
            query = {"subjects_filter": f"{self._stream.name}.*", "offset": len(found)}
            answer = await self._api("INFO", query)
            page = answer.get("state", {}).get("subjects") or {}
            found |= page
            if not page or len(found) >= answer.get("total", 0):
                return found

    async def deleted(self) -> list[int]:
        """Return the numbers of messages that were removed between the first and the last."""
        answer = await self._api("INFO", {"deleted_details": True})
        return list(answer.get("state", {}).get("deleted") or [])

    async def after_time(self, nanoseconds: int) -> int | None:
        """Return the number of the first message that was stored after a time, if any."""
        query = {"start_time": format_time(nanoseconds + 1), "batch": 1}
        found = (await self._fetch(query)).messages
        return found[0].place.seq if found else None

    async def oldest(self, subjects: Collection[str]) -> dict[str, int]:
        """Return the number of the oldest message of each subject that has any."""
        found: dict[str, int] = {}

        async def look_up(subject: str) -> None:
            # From the leader: a replica that lags may still have messages that others removed.
            try:
                answer = await self._api("MSG.GET", {"seq": 1, "next_by_subj": subject})
            except BrokerError as error:
                if error.code != NO_MESSAGE:
                    raise
            else:
                found[subject] = int(answer["message"]["seq"])

        names = list(subjects)
        for start in range(0, len(names), BATCH):
            # `gather` and not a TaskGroup: its first error is the BrokerError that callers expect.
            await asyncio.gather(*map(look_up, names[start : start + BATCH]))
        return found

    async def batch(self, seq: int) -> Batch:
        """Return stored messages from the number `seq` on, in order, as far as a replica knows."""
        query = {"seq": max(seq, 1), "batch": BATCH, "max_bytes": BATCH_BYTES}
        return await self._fetch(query)

    async def _fetch(self, query: dict[str, Any]) -> Batch:
        # Any replica answers, without the leader: this works during an election, too.
        received: asyncio.Queue[Msg] = asyncio.Queue()
        found: list[Message] = []
        with self._connection.answers(received.put_nowait) as reply:
            subject = f"$JS.API.DIRECT.GET.{self._stream.name}"
            await self._connection.publish(subject, json.dumps(query).encode(), None, reply)
            while True:
                try:
                    async with asyncio.timeout(TIMEOUT):
                        msg = await received.get()
                except TimeoutError:
                    raise NoAnswer(f"no messages within {TIMEOUT:g} s") from None
                headers = msg.headers or {}
                status = headers.get("Status")
                if status in (_END, _NONE):
                    # Messages published meanwhile are sent, too, but not counted as pending.
                    pending = int(headers.get("Nats-Num-Pending", 0))
                    return Batch(found, pending == 0 and len(found) < query["batch"])
                if status is not None:
                    raise BrokerError(f"Direct Get: {status} {headers.get('Description', '')}")
                found.append(self.read(msg))

    def read(self, msg: Msg) -> Message:
        """Return a message that JetStream sent. Raise BrokerError for any other."""
        try:
            return self._stream.read(msg.subject, msg.headers or {}, msg.data)
        except ValueError as error:
            raise BrokerError(f"a message is not from a stream: {error}") from error

    async def _ask(self, verb: str, request: dict[str, Any] | None = None) -> Info:
        try:
            info = parse_info(await self._api(verb, request))
        except ValueError as error:
            raise BrokerError(f"STREAM.{verb}: {error}") from error
        if problem := problem_of(info.config, self._stream):
            name = self._stream.name
            raise BrokerError(
                f"the stream {name} cannot be used: {problem}; delete it (nats stream rm {name}), "
                "and a node creates it anew"
            )
        return info

    async def _api(self, verb: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
        payload = json.dumps(request).encode() if request else b""
        subject = f"$JS.API.STREAM.{verb}.{self._stream.name}"
        # Creating a stream with replicas takes longer than reading its state.
        timeouts = (TIMEOUT * 3,) if verb == "CREATE" or request else INFO_TIMEOUTS
        for timeout in timeouts:
            try:
                answer = await self._connection.request(subject, payload, timeout=timeout)
            except NoAnswer as error:
                failure = error
            else:
                return parse_answer(answer)
        raise failure


def parse_answer(msg: Msg) -> dict[str, Any]:
    """Return an answer of JetStream. Raise BrokerError if it is an error, with its code."""
    try:
        answer = json.loads(msg.data)
        error = answer.get("error")
        if error is not None:
            raise BrokerError(str(error.get("description")), int(error.get("err_code", 0)))
    except (ValueError, AttributeError, TypeError) as error:
        raise BrokerError(f"JetStream answered in an unexpected format: {error}") from error
    assert isinstance(answer, dict)
    return answer
