"""Values that do not fit: what is stored of them, and that nothing else suffers."""

import asyncio
import logging

import pytest

import aionotify.cache.merge
from aionotify.cache.format import MAX_VALUE
from tests.support import MemcachedProcess, eventually, turning_loop
from tests.support.cache_nodes import key, note, running_node
from tests.support.fault_server import STORING, Command, FakeMemcached, refuses_values

MEBIBYTE = 1024 * 1024


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings and errors in the log."""
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("letter", ["x", "é", "\0"])
async def test_large_value_is_cut_to_the_newest(memcached: MemcachedProcess, letter: str) -> None:
    """A control character is six bytes in JSON."""
    size = 65_536 // len(letter.encode())
    async with running_node(memcached, limit=100) as node:
        async with turning_loop():
            for number in range(100):
                node.add(note(number, f"{number:03}" + letter * (size - 3)))
            await eventually(lambda: node.saved)
        assert len(node.recents()) == 100
        assert node.cache.connected
    kept = [message[:3] for message in memcached.messages()]
    assert kept == [f"{number:03}" for number in range(100 - len(kept), 100)]
    in_bytes = len(memcached.command(b"get " + key()))
    assert MAX_VALUE - in_bytes // len(kept) < in_bytes < MAX_VALUE + 100


async def test_servers_with_large_values_agree(memcached: MemcachedProcess) -> None:
    """What was cut is not missed when the value is read again."""
    async with (
        running_node(memcached, limit=100) as one,
        running_node(memcached, limit=100) as two,
    ):
        for number in range(0, 40, 2):
            one.add(note(number, f"{number:03}" + "x" * 65_000))
            two.add(note(number + 1, f"{number + 1:03}" + "x" * 65_000))
        await eventually(lambda: one.saved and two.saved)
    kept = [each["message"][:3] for each in memcached.recents()]
    assert kept == [f"{number:03}" for number in range(40 - len(kept), 40)]
    assert len(kept) == 15


@pytest.mark.parametrize("large", ["x" * MEBIBYTE, "\0" * 180_000], ids=["long", "escaped"])
async def test_refused_notification_is_one_topics_problem(
    memcached: MemcachedProcess, large: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything else is stored, also of the same topic, and nobody waits in vain."""
    with caplog.at_level(logging.INFO, "aionotify"):
        async with running_node(memcached) as node:
            await node.publish("before", stored=True)
            async with asyncio.timeout(2):
                await asyncio.gather(
                    node.publish(large, stored=True), node.publish("x", topic="other", stored=True)
                )
            assert memcached.messages("other") == ["x"]
            assert memcached.messages() == ["before"]
            await node.publish("after", stored=True)
            assert memcached.messages() == ["before", "after"]
            assert node.recents() == ["before", large, "after"]
            assert node.cache.connected
            assert node.cache.errors == 0
    assert len(warnings(caplog)) == 1
    assert warnings(caplog)[0].startswith("memcached refused 10")
    assert "topic main (object too large for cache)" in warnings(caplog)[0]


async def test_refused_notification_is_missing_elsewhere(memcached: MemcachedProcess) -> None:
    """The other server is told by the floor."""
    async with running_node(memcached) as one, running_node(memcached) as two:
        (first,) = await one.publish("before", stored=True)
        await two.broker.refresh("main")
        assert two.complete(first)
        await one.publish("x" * MEBIBYTE, stored=True)
        await two.broker.refresh("main")
        assert two.recents() == ["before"]
        assert not two.complete(first)


async def test_refused_value_is_halved() -> None:
    """A memcached may be configured for smaller values: as many as fit are stored."""

    async def small(command: Command) -> None:
        if command.name in STORING and len(command.data) > 10_000:
            await command.answer(b"SERVER_ERROR object too large for cache\r\n")
        else:
            await command.server.obey(command)

    async with FakeMemcached(small) as fake, running_node(fake) as node:
        await node.publish(*(f"{number}" + "x" * 3000 for number in range(5)), stored=True)
        stored = fake.values[key()][0]
        assert [stored.count(b'"%dxxx' % number) for number in range(5)] == [0, 0, 0, 1, 1]
        tries = len(fake.commands)
        await node.publish("5" + "x" * 3000, stored=True)
        assert b'"5xxx' in fake.values[key()][0]
        assert len(fake.commands) == tries + 2, "it is known what fits"
        assert node.cache.errors == 0


async def test_full_memory_is_no_loss(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing at all can be stored: publishers are answered, and one warning is logged."""
    async with FakeMemcached(refuses_values, spare_probe=True, spared=(b"set",)) as fake:
        with caplog.at_level(logging.INFO, "aionotify"):
            async with running_node(fake) as node, asyncio.timeout(2):
                for number in range(8):
                    await node.publish(f"m{number}", stored=True)
                assert node.recents() == ["m3", "m4", "m5", "m6", "m7"]
                assert node.cache.connected
                assert node.saved
                assert key() not in fake.values
        assert len(warnings(caplog)) == 1
        assert "topic main (out of memory storing object)" in warnings(caplog)[0]


async def test_refused_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory may be there again after a while."""
    fake = FakeMemcached(refuses_values, spare_probe=True, spared=(b"set",))
    async with fake, running_node(fake) as node:
        await node.publish("a", "b", "c", stored=True)
        fake.fault = None
        await node.publish("d", stored=True)
        assert b'"c"' not in fake.values[key()][0]
        monkeypatch.setattr(aionotify.cache.merge, "REFUSAL_TTL", 0)
        await node.publish("e", stored=True)
        stored = fake.values[key()][0]
        assert [stored.count(b'"%c"' % letter) for letter in b"abcde"] == [1] * 5


async def test_waiting_for_one_topic_is_not_waiting_for_another() -> None:
    """A topic that needs many attempts does not hold up the others."""

    async def picky(command: Command) -> None:
        if command.key == key("picky") and command.name in STORING and len(command.data) > 120:
            await command.answer(b"SERVER_ERROR object too large for cache\r\n")
        else:
            await command.server.obey(command)

    async with FakeMemcached(picky) as fake, running_node(fake, limit=100) as node:
        await node.publish(*map(str, range(100)), topic="picky")
        await node.publish("x", topic="other", stored=True)
        rounds = sum(each.startswith(b"gets ") for each in fake.commands)
        assert rounds < 5
        assert b'"x"' in fake.values[key("other")][0]
        await eventually(lambda: node.saved)
        assert b'"99"' in fake.values[key("picky")][0]
