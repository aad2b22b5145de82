"""Publishing once, however often it has to be tried; a scripted connection stands in for NATS."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

import aionotify.broker.nats.publisher as module
from aionotify.broker.nats.connection import Connection
from aionotify.broker.nats.publisher import Publisher, Unsure
from aionotify.broker.nats.stream import Stream
from aionotify.errors import BrokerError, MessageTooBig, NoAnswer, Unavailable
from aionotify.notification import Draft
from aionotify.stats import ClusterStats


def ack(seq: int) -> dict[str, Any]:
    """Return an acknowledgment."""
    return {"stream": "s", "seq": seq}


def refusal(code: int) -> dict[str, Any]:
    """Return an error of JetStream."""
    return {"error": {"code": 400, "err_code": code, "description": "no"}}


class Scripted:
    """A connection that answers as its script says, and remembers what was sent."""

    connected = True
    version = (2, 12)
    max_message = 100

    def __init__(self, *script: dict[str, Any] | BrokerError) -> None:
        self.script = [*script]
        self.sent: list[tuple[str, bytes, dict[str, str]]] = []
        self.pauses = 0

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        self.sent.append((subject, payload, dict(headers)))

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str], *, timeout: float
    ) -> Msg:
        await self.publish(subject, payload, headers)
        answer = self.script.pop(0)
        if isinstance(answer, BrokerError):
            raise answer
        return Msg(Client(), data=json.dumps(answer).encode())

    async def pause(self, seconds: float) -> None:
        self.pauses += 1


Make = Callable[..., tuple[Publisher, Scripted]]


@pytest.fixture
def make() -> Make:
    """Make a publisher that does not pause."""

    def made(*script: dict[str, Any] | BrokerError, atomic: bool = True) -> Any:
        connection = Scripted(*script)
        publisher = Publisher(cast(Connection, connection), Stream("s", 100), ClusterStats())
        publisher.atomic = atomic
        return publisher, connection

    return made


def attempts(*messages: str) -> list[tuple[Draft, str]]:
    """Return notifications of `main`, each with its message as key."""
    return [(Draft("main", each, len(each)), each) for each in messages]


async def test_place_is_that_of_the_acknowledgment(make: Make) -> None:
    publisher, connection = make(ack(7))
    assert await publisher.store(attempts("a"), Unsure()) == [7]
    assert connection.sent == [("s.main", b"a", {"Nats-Msg-Id": "a"})]


async def test_every_attempt_has_the_same_key(make: Make) -> None:
    publisher, connection = make(
        NoAnswer("late"), BrokerError("nobody", 503), refusal(10158), ack(7)
    )
    unsure = Unsure()
    assert await publisher.store(attempts("a"), unsure) == [7]
    assert {headers["Nats-Msg-Id"] for _, _, headers in connection.sent} == {"a"}
    assert len(connection.sent) == 4
    assert connection.pauses == 2, "a refused attempt pauses, a lost one does not"


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (BrokerError("nobody", 503), "Nothing was stored."),
        (NoAnswer("late"), "It is not known whether it was stored."),
    ],
)
async def test_error_tells_what_is_known(make: Make, fault: BrokerError, sentence: str) -> None:
    publisher, _ = make(fault)
    unsure = Unsure()
    with pytest.raises(IndexError):  # the end of the script
        await publisher.store(attempts("a"), unsure)
    assert sentence in str(unsure.error())
    assert unsure.refusal == str(fault)


async def test_few_are_in_flight(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait, and nothing of them is stored if their time ends."""
    monkeypatch.setattr(module, "MAX_IN_FLIGHT", 1)
    publisher, connection = make()
    pending = asyncio.Event()

    async def request(*arguments: object, **options: object) -> Msg:
        connection.sent.append(("", b"", {}))
        await pending.wait()
        return Msg(Client(), data=json.dumps(ack(7)).encode())

    monkeypatch.setattr(connection, "request", request)
    first = asyncio.create_task(publisher.store(attempts("a"), Unsure()))
    unsure = Unsure()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await publisher.store(attempts("b"), unsure)
    assert len(connection.sent) == 1
    assert "Nothing was stored." in str(unsure.error())
    pending.set()
    assert await first == [7]
    assert await publisher.store(attempts("c"), Unsure()) == [7]


async def test_batch_is_committed_as_one(make: Make) -> None:
    publisher, connection = make(ack(12))
    assert await publisher.store(attempts("a", "b", "c"), Unsure()) == [10, 11, 12]
    headers = [each for _, _, each in connection.sent]
    assert [each["Nats-Batch-Sequence"] for each in headers] == ["1", "2", "3"]
    assert [each.get("Nats-Batch-Commit") for each in headers] == [None, None, "1"]
    assert len({each["Nats-Batch-Id"] for each in headers}) == 1


async def test_batch_is_repeated_whole(make: Make) -> None:
    publisher, connection = make(BrokerError("incomplete", 1), ack(2))
    assert await publisher.store(attempts("a", "b"), Unsure()) == [1, 2]
    assert len({headers["Nats-Batch-Id"] for _, _, headers in connection.sent}) == 2


async def test_batch_that_is_known_gives_its_places(make: Make) -> None:
    """It was stored, and its acknowledgment was lost: each of it is answered as a duplicate."""
    publisher, _ = make(NoAnswer("late"), refusal(module.DUPLICATE_IN_BATCH), ack(1), ack(2))
    assert await publisher.store(attempts("a", "b"), Unsure()) == [1, 2]


async def test_old_server_gets_one_after_the_other(make: Make) -> None:
    publisher, connection = make(ack(1), ack(5), atomic=False)
    assert await publisher.store(attempts("a", "b"), Unsure()) == [1, 5]
    assert [payload for _, payload, _ in connection.sent] == [b"a", b"b"]


async def test_too_big_for_the_server_is_refused(make: Make) -> None:
    publisher, _ = make()
    with pytest.raises(MessageTooBig, match="101 bytes; the limit of the NATS servers is 100"):
        await publisher.store(attempts("x" * 101), Unsure())


async def test_too_many_waiting_are_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher, _ = make(ack(1))
    monkeypatch.setattr(module, "MAX_WAITING", 0)
    publisher._waiting = 1
    with pytest.raises(Unavailable, match="Nothing was stored"):
        await publisher.store(attempts("a"), Unsure())
