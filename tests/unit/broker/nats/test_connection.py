"""A connection to a real nats-server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg

import aionotify.broker.nats.connection as module
from aionotify.broker.nats.connection import Connection
from aionotify.errors import BrokerError, NoAnswer
from aionotify.net import Address
from aionotify.settings import Settings
from aionotify.settings.nats import NatsServers
from tests.support.nats_nodes import other_program, registered
from tests.support.waiting import eventually, free_port


class Running:
    """A connection, and what it was told."""

    def __init__(self, settings: Settings) -> None:
        self.live: list[Msg] = []
        self.connects = 0
        self.connection = Connection(settings, {"live.*": self.live.append}, self._on_connected)

    def _on_connected(self) -> None:
        self.connects += 1


@pytest.fixture
async def running(nats_settings: Settings) -> AsyncIterator[Running]:
    """Connect."""
    running = Running(nats_settings)
    running.connection.start()
    await eventually(lambda: running.connection.connected)
    yield running
    await running.connection.stop()


async def test_request_gets_the_answer(running: Running, nats_settings: Settings) -> None:
    async def answer(msg: Msg) -> None:
        await msg.respond(msg.data + b"!")

    async with other_program(nats_settings) as nats:
        await nats.subscribe("question", cb=answer)
        await registered(nats)
        assert (await running.connection.request("question", b"x", timeout=1)).data == b"x!"


async def test_silence_is_not_known_to_have_failed(
    running: Running, nats_settings: Settings
) -> None:
    async with other_program(nats_settings) as nats:
        await nats.subscribe("question")
        await registered(nats)
        with pytest.raises(NoAnswer):
            await running.connection.request("question", b"x", timeout=0.05)


async def test_subject_without_listener_raises(running: Running) -> None:
    with pytest.raises(BrokerError, match="nothing listens") as raised:
        await running.connection.request("nobody", b"x", timeout=1)
    assert not isinstance(raised.value, NoAnswer)


@pytest.mark.parametrize("reconnected", [False, True], ids=["leader", "connection"])
async def test_request_without_answer_is_given_up(
    running: Running, nats_settings: Settings, reconnected: bool
) -> None:
    """A new leader, or server, knows nothing of it: waiting would delay the next attempt."""
    async with other_program(nats_settings) as nats, asyncio.TaskGroup() as tasks:
        question = await nats.subscribe("question.x")
        await registered(nats)

        async def ask() -> None:
            with pytest.raises(NoAnswer, match="is gone"):
                await running.connection.request("question.x", b"", timeout=60)

        asking = tasks.create_task(ask())
        await question.next_msg()
        running.connection.give_up("other.")
        await asyncio.sleep(0)
        assert not asking.done()
        if reconnected:
            await running.connection._on_connect()
        else:
            running.connection.give_up("other.", "question.")


async def test_pause_ends_when_something_is_new(running: Running) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.connection.pause(60))
        await asyncio.sleep(0)
        running.connection.give_up("")
    await running.connection.pause(0)


async def test_live_messages_arrive(running: Running, nats_settings: Settings) -> None:
    async with other_program(nats_settings) as nats:
        await nats.publish("live.main", b"x")
        await eventually(lambda: [each.data for each in running.live] == [b"x"])


async def test_closed_client_is_replaced(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """nats-py closes for good on most errors of the protocol."""
    monkeypatch.setattr(module, "CHECK_INTERVAL", 0.01)
    client = running.connection._client
    assert client is not None
    await client.close()
    assert not running.connection.connected
    with pytest.raises(BrokerError, match="not connected"):
        await running.connection.publish("x", b"")
    await eventually(lambda: running.connection.connected)
    assert running.connects == 2


async def test_late_answer_to_a_probe_is_no_error(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes when the probe was given up, and before the connection is."""
    monkeypatch.setattr(module, "CHECK_INTERVAL", 0)
    client = running.connection._client
    assert client is not None
    assert not await running.connection._answers(client)
    await client.flush(timeout=2)
    assert caplog.messages == []


async def test_version_of_a_lost_server_is_unknown(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """It was lost before the callback of its connect has run."""
    client = running.connection._client
    assert client is not None
    await client.close()
    await running.connection._on_connect()
    assert caplog.messages == []


async def test_limit_is_that_of_the_server(running: Running) -> None:
    assert running.connection.max_message == 1024 * 1024 - module.HEADER_ROOM
    assert running.connection.version >= (2, 12)
    assert running.connection.server.startswith("127.0.0.1:")


async def test_missing_server_is_no_error() -> None:
    running = Running(Settings(nats_url=NatsServers((Address("127.0.0.1", free_port()),), False)))
    running.connection.start()
    await eventually(lambda: "Connect call failed" in running.connection.reason)
    assert not running.connection.connected
    assert running.connection.version == (0, 0)
    await running.connection.stop()


async def test_error_is_reported_once(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        await running.connection._on_error(Exception("nats: permissions violation for x"))
    await running.connection._on_error(Exception("something else"))
    assert [each.getMessage() for each in caplog.records] == ["NATS: permissions violation for x"]
    assert running.connection.reason == "something else"


async def test_stop_before_start() -> None:
    running = Running(Settings(nats_url=NatsServers((Address("a", 1),), False)))
    await running.connection.stop()
    await asyncio.sleep(0)
    assert not running.connection.connected
