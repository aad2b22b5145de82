"""Rounds that fail, are cancelled or conflict: nothing is lost, and nobody waits in vain."""

import asyncio
from functools import partial

import pytest

from aionotify.cache.format import MARKER
from aionotify.cache.memcached import Outcome
from aionotify.cache.replicator import MERGE_ATTEMPTS
from aionotify.errors import CacheError
from tests.support.cache_nodes import key, note, value
from tests.support.cache_rounds import Rounds, during, failing


@pytest.mark.parametrize("command", ["get", "store", "delete"])
async def test_failed_round_keeps_everything(command: str) -> None:
    """Its notifications and their waiters; readers are released, for nothing can be read."""
    rounds = Rounds()
    rounds.memcached.put(MARKER, b"marker")
    rounds.publish("one")
    rounds.publish("two", "other")
    failing(rounds, command)
    waiting, read = rounds.wait_stored(), rounds.wait_read("read")
    during(rounds, "get", lambda: rounds.publish("three"))
    with pytest.raises(CacheError, match="lost"):
        await rounds.round()
    assert read.result() is (command == "store")
    assert not waiting.done()
    assert rounds.replicator.unsaved == 2
    await rounds.drain()
    assert waiting.result()
    assert rounds.memcached.messages() == ["one", "three"]
    assert rounds.memcached.messages("other") == ["two"]


async def test_failed_batch_keeps_only_its_own() -> None:
    """What was stored before in the same round is stored."""
    rounds = Rounds()
    rounds.publish("x")
    await rounds.drain()
    for number in range(4):
        rounds.publish("x" * 600_000, f"topic{number}")
    waiting = [rounds.wait_stored(f"topic{number}") for number in range(4)]
    during(rounds, "store", lambda: failing(rounds, "store"))
    with pytest.raises(CacheError, match="lost"):
        await rounds.round()
    stored = [key(f"topic{number}") in rounds.memcached.values for number in range(4)]
    assert [each.done() for each in waiting] == stored == [True, False, False, False]
    assert rounds.replicator.unsaved == 3
    await rounds.drain()
    assert all(each.result() for each in waiting)


@pytest.mark.parametrize("command", ["get", "store"])
async def test_cancelled_round_keeps_everything(command: str) -> None:
    rounds = Rounds()
    rounds.publish("one")
    waiting = rounds.wait_stored()
    reached = asyncio.Event()

    async def hang(name: str) -> None:
        if name == command:
            reached.set()
            await asyncio.Event().wait()

    before = rounds.memcached.before
    rounds.memcached.before = hang
    task = asyncio.create_task(rounds.round())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    rounds.memcached.before = before
    assert not waiting.done()
    await rounds.round()
    assert waiting.result()
    assert rounds.memcached.messages() == ["one"]


async def test_release_ends_all_waiting() -> None:
    """Memcached is lost: publishers and readers go on; everything remains to be stored."""
    rounds = Rounds()
    rounds.publish("one")
    waiting, read = rounds.wait_stored(), rounds.wait_read("other")
    failing(rounds, "store")
    with pytest.raises(CacheError, match="lost"):
        await rounds.round()
    read = rounds.wait_read("other")
    rounds.replicator.release()
    assert (waiting.result(), read.result()) == (False, False)
    assert rounds.replicator.unsaved == 1


async def test_conflict_is_retried() -> None:
    """Another server has written in between: both are stored."""
    rounds = Rounds()
    rounds.publish("own")
    waiting = rounds.wait_stored()
    for number in range(3):
        others = map(note, range(number + 1))
        during(rounds, "store", partial(rounds.memcached.put, key(), value(*others)))
        assert await rounds.round() == 0
        assert not waiting.done()
    await rounds.round()
    assert waiting.result()
    assert rounds.memcached.messages() == ["m0", "m1", "m2", "own"]


async def test_conflicts_of_busy_servers_are_no_lie() -> None:
    """Only an unbroken row of them is, and a value that was stored breaks it."""
    rounds = Rounds()
    for number in range(2 * MERGE_ATTEMPTS):
        rounds.publish(str(number))
        during(rounds, "store", partial(rounds.memcached.put, key(), value(note(number))))
        await rounds.drain()
    assert rounds.memcached.messages()[-1] == str(2 * MERGE_ATTEMPTS - 1)


async def test_endless_conflicts_are_given_up() -> None:
    """It must be lying: other servers do not write that much."""
    rounds = Rounds()
    rounds.memcached.outcomes[key()] = Outcome(False)
    rounds.publish("own")
    with pytest.raises(CacheError, match=r"aionotify:1:recent:main changed 200 times in a row"):
        await rounds.drain()
    assert rounds.memcached.commands.count(("store", 1)) == MERGE_ATTEMPTS + 1
    assert rounds.replicator.unsaved == 1
