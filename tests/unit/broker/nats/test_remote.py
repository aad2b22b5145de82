"""Requests to the stream of a real nats-server."""

import json
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

import aionotify.broker.nats
import aionotify.broker.nats.remote
from aionotify.broker.nats.connection import Connection
from aionotify.broker.nats.remote import Remote, parse_answer
from aionotify.errors import BrokerError, NoAnswer
from aionotify.settings import Settings
from tests.support.broker_contract import Node, drafts
from tests.support.nats_nodes import other_program, running_node


def remote_of(node: Node):  # type: ignore[no-untyped-def]
    """Return the stream as a node sees it."""
    return node.broker._remote  # type: ignore[attr-defined]


async def test_stream_is_created_as_wanted(nats_settings: Settings) -> None:
    async with running_node(nats_settings) as node:
        info = await remote_of(node).info()
        wanted = remote_of(node).wanted() | {"first_seq": info.config["first_seq"]}
        assert {name: info.config[name] for name in wanted} == wanted
        assert info.first_seq == info.config["first_seq"] > 1_700_000_000_000_000


async def test_stored_messages_are_fetched(
    nats_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(nats_settings) as node:
        published = await node.broker.publish(drafts("a", "b", "c"), wait_stored=True)
        ids = [each.id for each in published]
        remote = remote_of(node)
        found, to_the_end = await remote.batch(ids[1])
        assert to_the_end
        assert [each.notification for each in found] == published[1:]
        assert await remote.batch(ids[2] + 1) == ([], True)
        monkeypatch.setattr(aionotify.broker.nats.remote, "BATCH", 1)
        assert await remote.batch(ids[2]) == (found[1:], False), "it may have been all, or not"
        assert await remote.after_time(found[0].place.time) == ids[2]
        assert await remote.after_time(found[1].place.time) is None
        assert await remote.subjects() == {f"{nats_settings.nats_stream}.main": 3}
        assert await remote.deleted() == []


async def test_oldest_message_of_each_subject_is_found(nats_settings: Settings) -> None:
    async with running_node(nats_settings) as node:
        published = await node.broker.publish(
            [*drafts("a", "b"), *drafts("c", topic="other")], wait_stored=True
        )
        stream = nats_settings.nats_stream
        wanted = [f"{stream}.{topic}" for topic in ("main", "other", "missing")]
        ids = [each.id for each in published]
        assert await remote_of(node).oldest(wanted) == {wanted[0]: ids[0], wanted[1]: ids[2]}


async def test_subjects_are_read_page_by_page(
    nats_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sends 100,000 at once; here, it is asked for two."""
    offsets = []

    async def page(self: Remote, verb: str, request: dict[str, int]) -> object:
        offsets.append(request["offset"])
        names = ["s.a", "s.b", "s.c"][request["offset"] :][:2]
        return {"total": 3, "state": {"subjects": dict.fromkeys(names, 1)}}

    async with running_node(nats_settings) as node:
        monkeypatch.setattr(Remote, "_api", page)
        found = await remote_of(node).subjects()
        monkeypatch.undo()
    assert found == {"s.a": 1, "s.b": 1, "s.c": 1}
    assert offsets == [0, 2]


async def test_question_is_repeated(
    nats_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may have been no leader for a moment."""
    async with running_node(nats_settings) as node:
        request, lost = Connection.request, [1, 2]

        async def losing(*arguments: Any, **options: Any) -> Msg:
            if lost:
                raise NoAnswer(f"lost {lost.pop()}")
            return await request(*arguments, **options)

        monkeypatch.setattr(Connection, "request", losing)
        assert (await remote_of(node).info()).messages == 0
        lost += [1, 2, 3]
        with pytest.raises(NoAnswer, match="lost 1"):
            await remote_of(node).info()


async def test_foreign_stream_is_refused(
    nats_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody created it without the parts that nodes rely on."""
    monkeypatch.setattr(aionotify.broker.nats, "START_TIMEOUT", 0.1)
    name = nats_settings.nats_stream
    async with other_program(nats_settings) as nats:
        await create(nats, name)
        async with running_node(nats_settings) as node:
            with pytest.raises(BrokerError, match=f"does not republish .*nats stream rm {name}"):
                await remote_of(node).info()


async def create(nats: Client, name: str) -> None:
    """Create a plain stream."""
    config = json.dumps({"name": name, "subjects": [f"{name}.*"]}).encode()
    answer = await nats.request(f"$JS.API.STREAM.CREATE.{name}", config)
    assert b"error" not in answer.data


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"error":{"code":404,"err_code":10059,"description":"stream not found"}}', 10059),
        (b"{", 0),
        (b"[]", 0),
    ],
)
def test_error_has_its_code(data: bytes, code: int) -> None:
    with pytest.raises(BrokerError) as raised:
        parse_answer(Msg(Client(), data=data))
    assert raised.value.code == code
