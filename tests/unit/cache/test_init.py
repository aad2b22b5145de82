"""The recents: what is kept, for how long, and that memcached and memory agree in the end."""

import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aionotify.cache
from aionotify.cache import WRITE_INTERVAL, Cache
from aionotify.cache.format import MAX_VALUE
from aionotify.cache.memcached import Memcached, Stored
from aionotify.net import Address
from aionotify.notification import Notification
from tests.support import MemcachedProcess, eventually, free_port, turning_loop
from tests.support.fault_server import FakeMemcached, never_answers

NOW = int(time.time() * 1000)


class Clock:
    """What the cache takes for the `time` module."""

    def __init__(self) -> None:
        self.now = NOW / 1000

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the cache looks at, to be set."""
    clock = Clock()
    monkeypatch.setattr(aionotify.cache, "time", clock)
    return clock


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost memcached is probed again soon."""
    monkeypatch.setattr(aionotify.cache, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(aionotify.cache, "RETRY_LAST", 0.1)


def note(number: int, message: str = "", age: float = 0) -> Notification:
    """A notification whose id increases with `number`, published `age` seconds ago."""
    return Notification(NOW * 1000 + number, int(NOW - age * 1000), message or f"m{number}")


def texts(notifications: Sequence[Notification]) -> list[str]:
    """Their messages."""
    return [each.message for each in notifications]


@asynccontextmanager
async def running_cache(
    memcached: MemcachedProcess | FakeMemcached | None, limit: int = 5, ttl: int = 3600
) -> AsyncIterator[Cache]:
    """A started cache; `None` leaves it with an address where nobody listens."""
    address = Address("127.0.0.1", free_port() if memcached is None else memcached.port)
    cache = Cache([address], limit, ttl)
    await cache.start()
    try:
        yield cache
    finally:
        await cache.stop()


def key(topic: str = "main") -> bytes:
    """Where a topic's recents are."""
    return b"aionotify:1:recent:" + topic.encode()


def put(memcached: MemcachedProcess, value: bytes, flags: int = 0) -> None:
    """Store `value` for `main`, past the cache."""
    head = b"set " + key() + b" %d 60 %d" % (flags, len(value))
    memcached.command(head + b"\r\n" + value, b"STORED\r\n")


def value(*notifications: Notification) -> bytes:
    """What another server would have stored."""
    return json.dumps(
        {
            "notifications": [
                {"id": each.id, "time": each.time, "message": each.message}
                for each in notifications
            ]
        }
    ).encode()


def entry(id: bytes = b"1", time: bytes = b"1", message: bytes = b'"x"') -> bytes:
    """A value with one entry, of whatever stands for its members."""
    members = b'"id":%b,"time":%b,"message":%b' % (id, time, message)
    return b'{"notifications":[{%b}]}' % members


# -------------------------------------------------------------------------------- in memory


@pytest.fixture
def memory() -> Cache:
    """A cache that was never started: nothing but its memory."""
    return Cache([], 5, 3600)


def test_nothing_is_known_of_a_topic_without_notifications(memory: Cache) -> None:
    assert memory.recents("main") == []


def test_the_newest_are_kept_oldest_first(memory: Cache) -> None:
    for number in range(8):
        memory.add("main", note(number))
    assert texts(memory.recents("main")) == ["m3", "m4", "m5", "m6", "m7"]


def test_the_newest_are_those_with_the_highest_ids(memory: Cache) -> None:
    for number in (5, 1, 7, 3, 6, 2, 4):
        memory.add("main", note(number))
    assert texts(memory.recents("main")) == ["m3", "m4", "m5", "m6", "m7"]


def test_topics_know_nothing_of_each_other(memory: Cache) -> None:
    memory.add("main", note(1))
    memory.add("other", note(2))
    assert texts(memory.recents("main")) == ["m1"]
    assert texts(memory.recents("other")) == ["m2"]


def test_what_was_handed_out_can_be_changed_without_harm(memory: Cache) -> None:
    memory.add("main", note(1))
    memory.recents("main").clear()
    assert texts(memory.recents("main")) == ["m1"]


def test_each_notification_expires_by_itself(clock: Clock) -> None:
    cache = Cache([], 5, 3600)
    cache.add("main", note(1, age=3000))
    cache.add("main", note(2, age=1000))
    clock.now += 599
    assert texts(cache.recents("main")) == ["m1", "m2"]
    clock.now += 1
    assert texts(cache.recents("main")) == ["m2"]
    clock.now += 2000
    assert texts(cache.recents("main")) == []


def test_what_has_expired_makes_no_room_for_what_was_pushed_out(clock: Clock) -> None:
    cache = Cache([], 2, 3600)
    for number in range(3):
        cache.add("main", note(number, age=3600 - number))
    clock.now += 1
    assert texts(cache.recents("main")) == ["m2"]


@pytest.mark.parametrize("connected", [True, False])
async def test_expired_topics_are_forgotten(
    memcached: MemcachedProcess,
    connected: bool,
    clock: Clock,
    hasty: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also while no memcached answers: topics come and go, and an outage may last."""
    monkeypatch.setattr(aionotify.cache, "CHECK_INTERVAL", 0.02)
    async with running_cache(memcached if connected else None) as cache:
        for number in range(1000):
            cache.add(f"topic{number}", note(number))
        cache.add("young", note(1, age=-60))
        await eventually(lambda: not connected or not cache._dirty, 8, "all are written")
        clock.now += 3600
        await eventually(lambda: list(cache._known) == ["young"], what="the others are forgotten")
        assert cache._dirty <= {"young"}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_notifications_of_one_id_stand_in_one_order_everywhere(order: tuple[int, ...]) -> None:
    """Two servers may publish within one microsecond."""
    cache = Cache([], 2, 3600)
    for number in order:
        cache.add("main", note(1, f"from server {number}"))
    assert texts(cache.recents("main")) == ["from server 1", "from server 2"]


# ----------------------------------------------------------------------------- in memcached


async def test_what_is_added_is_in_memcached_soon(memcached: MemcachedProcess) -> None:
    async with running_cache(memcached) as cache:
        assert cache.connected
        cache.add("main", note(1, 'é "quoted" \n \0 😀'))
        await eventually(lambda: len(memcached.recents()) == 1, 1)
        assert memcached.recents() == [
            {"id": note(1).id, "time": note(1).time, "message": 'é "quoted" \n \0 😀'}
        ]


async def test_what_is_in_memcached_is_known_after_a_refresh(memcached: MemcachedProcess) -> None:
    put(memcached, value(note(1), note(2)))
    async with running_cache(memcached) as cache:
        await cache.refresh("main")
        assert texts(cache.recents("main")) == ["m1", "m2"]


async def test_recents_are_the_newest_five_of_the_union(memcached: MemcachedProcess) -> None:
    put(memcached, value(*map(note, (1, 2, 4, 6, 8))))
    async with running_cache(memcached) as cache:
        for number in (3, 5, 7):
            cache.add("main", note(number))
        await cache.refresh("main")
        assert texts(cache.recents("main")) == ["m4", "m5", "m6", "m7", "m8"]
        await eventually(lambda: memcached.messages() == ["m4", "m5", "m6", "m7", "m8"])


async def test_what_is_in_both_is_shown_once(memcached: MemcachedProcess) -> None:
    async with running_cache(memcached) as cache:
        cache.add("main", note(1))
        await eventually(lambda: memcached.messages() == ["m1"])
        for _ in range(3):
            await cache.refresh("main")
        assert texts(cache.recents("main")) == ["m1"]


async def test_expired_notifications_in_memcached_are_not_learnt(
    memcached: MemcachedProcess,
) -> None:
    put(memcached, value(note(1, age=3601), note(2, age=10)))
    async with running_cache(memcached) as cache:
        await cache.refresh("main")
        assert texts(cache.recents("main")) == ["m2"]


async def test_memcached_forgets_by_itself(memcached: MemcachedProcess) -> None:
    """Nothing is left behind by a server that is gone."""
    async with running_cache(memcached, ttl=2) as cache:
        cache.add("main", note(1, age=-3600))
        await eventually(lambda: memcached.messages() == ["m1"])
    await eventually(lambda: memcached.recents() == [], 4, "the value has expired")


async def test_the_expiry_in_memcached_is_the_ttl(memcached: MemcachedProcess) -> None:
    async with running_cache(memcached, ttl=2_592_000) as cache:
        cache.add("main", note(1))
        await eventually(lambda: memcached.messages() == ["m1"])
    dump = memcached.command(b"lru_crawler metadump all")
    line = next(each for each in dump.splitlines() if b"recent" in each)
    expiry = int(dict(part.split(b"=") for part in line.split())[b"exp"])
    assert abs(expiry - (time.time() + 2_592_000)) < 10


async def test_stopping_writes_what_is_not_written_yet(memcached: MemcachedProcess) -> None:
    async with running_cache(memcached) as cache:
        for number in range(3):
            cache.add("main", note(number))
        cache.add("other", note(9))
    assert memcached.messages() == ["m0", "m1", "m2"]
    assert memcached.messages("other") == ["m9"]


async def test_stopping_takes_no_longer_than_the_last_write(memcached: MemcachedProcess) -> None:
    async with running_cache(memcached) as cache:
        cache.add("main", note(1))
        started = time.monotonic()
        await cache.stop()
        assert time.monotonic() - started < 0.5
    assert memcached.messages() == ["m1"]


async def test_one_connection_is_enough_and_none_is_left_behind() -> None:
    async with FakeMemcached() as fake:
        async with running_cache(fake) as cache:
            cache.add("main", note(1))
            await asyncio.gather(*(cache.refresh(f"topic{number}") for number in range(100)))
            assert fake.open_connections == 1
        await eventually(lambda: fake.open_connections == 0)


async def test_stopping_in_mid_read_leaves_no_connection_behind() -> None:
    async with FakeMemcached(never_answers, spare_probe=True) as fake:
        async with running_cache(fake) as cache:
            read = asyncio.create_task(cache.refresh("main"))
            await eventually(lambda: b"gets " + key() in fake.commands)
        await eventually(lambda: fake.open_connections == 0)
        await read


async def test_what_is_added_while_its_topic_is_written_is_written_too(
    memcached: MemcachedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    between, proceed = asyncio.Event(), asyncio.Event()
    replace = Memcached.replace

    async def slow(self: Memcached, key: bytes, value: bytes, ttl: int, token: int | None) -> bool:
        between.set()
        await proceed.wait()
        return await replace(self, key, value, ttl, token)

    monkeypatch.setattr(Memcached, "replace", slow)
    async with running_cache(memcached) as cache:
        cache.add("main", note(1))
        await between.wait()
        cache.add("main", note(2))
        proceed.set()
        await eventually(lambda: memcached.messages() == ["m1", "m2"], 2)


async def test_refreshes_at_the_same_time_share_one_read(memcached: MemcachedProcess) -> None:
    put(memcached, value(note(1)))
    async with running_cache(memcached) as cache:
        before = memcached.statistic("cmd_get")
        await asyncio.gather(*(cache.refresh("main") for _ in range(1000)))
        assert memcached.statistic("cmd_get") - before <= 3
        assert texts(cache.recents("main")) == ["m1"]


async def test_who_gives_up_a_refresh_spoils_it_for_nobody(memcached: MemcachedProcess) -> None:
    put(memcached, value(note(1)))
    async with running_cache(memcached) as cache:
        first, second = (asyncio.create_task(cache.refresh("main")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
        assert texts(cache.recents("main")) == ["m1"]


@pytest.mark.parametrize("pause", [0, 0.0005])
async def test_a_burst_costs_few_commands(pause: float) -> None:
    """As many as there are intervals between two writes, however fast memcached answers."""
    async with FakeMemcached() as fake, running_cache(fake) as cache:
        started = time.monotonic()
        for number in range(1000):
            cache.add("main", note(number))
            await asyncio.sleep(pause)
        await cache.stop()
        rounds = (time.monotonic() - started) / WRITE_INTERVAL
        assert b"m999" in fake.values[key()][0]
        assert len(fake.commands) < 10 + 3 * rounds


# ----------------------------------------------------------------------------- not readable


UNREADABLE = {
    "nothing": b"",
    "no JSON": b"(dp0\nS'pickled'\np1\n.",
    "half a value": value(note(1))[:-3],
    "not UTF-8": entry(message=b'"\xff\xfe"'),
    "a list": b"[]",
    "a number": b"5",
    "a text": b'"notifications"',
    "null": b"null",
    "without the key": b'{"recents":[]}',
    "of another type": b'{"notifications":5}',
    "an object of entries": b'{"notifications":{"id":1}}',
    "entries that are texts": b'{"notifications":["id"]}',
    "entries that are lists": b'{"notifications":[[1,2,"x"]]}',
    "entries that are null": b'{"notifications":[null]}',
    "an entry without a time": b'{"notifications":[{"id":1,"message":"x"}]}',
    "an id that is a text": entry(id=b'"1"'),
    "an id that is true": entry(id=b"true"),
    "an id with a point": entry(id=b"1.0"),
    "an id that is no number": entry(id=b"NaN"),
    "a negative id": entry(id=b"-1"),
    "id 0": entry(id=b"0"),
    "an id from the far future": entry(id=b"9007199254740991"),
    "an id of many digits": entry(id=b"9" * 5000),
    "a negative time": entry(time=b"-1"),
    "a time of many digits": entry(time=b"9" * 400),
    "a time without an end": entry(time=b"Infinity"),
    "a message that is a number": entry(message=b"5"),
    "a lone surrogate": entry(message=b'"\\ud800"'),
    "deep nesting": b"[" * 500_000,
    "deep nesting in an entry": b'{"notifications":[' + b'{"id":' * 100_000,
    "a good entry and a bad one": value(note(1))[:-2] + b"," + entry(id=b"-1")[19:],
}


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_what_cannot_be_read_is_logged_once_and_overwritten(
    memcached: MemcachedProcess, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(memcached, UNREADABLE[kind])
    with caplog.at_level(logging.INFO, "aionotify"):
        async with running_cache(memcached) as cache:
            for _ in range(3):
                await cache.refresh("main")
            assert cache.recents("main") == []
            assert cache.connected
            cache.add("main", note(7))
            await eventually(lambda: b"m7" in memcached.command(b"get " + key()))
            assert memcached.messages() == ["m7"]
            assert cache.connected
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert lines[0].startswith("aionotify:1:recent:main holds no recents (")
    assert len(lines[0]) < 500


async def test_the_flags_of_another_client_are_no_reason_to_give_up_memcached(
    memcached: MemcachedProcess,
) -> None:
    put(memcached, b"\x80\x04N.", flags=1)
    async with running_cache(memcached) as cache:
        await cache.refresh("main")
        assert cache.connected
        cache.add("main", note(1))
        await eventually(lambda: b"m1" in memcached.command(b"get " + key()))
        assert memcached.messages() == ["m1"]


async def test_what_cannot_be_read_takes_nothing_away(memcached: MemcachedProcess) -> None:
    async with running_cache(memcached) as cache:
        cache.add("main", note(1))
        await eventually(lambda: memcached.messages() == ["m1"])
        put(memcached, b"garbage")
        await cache.refresh("main")
        assert texts(cache.recents("main")) == ["m1"]
        cache.add("main", note(2))
        await eventually(lambda: b"m2" in memcached.command(b"get " + key()))
        assert memcached.messages() == ["m1", "m2"]


async def test_a_value_with_more_than_is_kept_is_cut_to_the_newest(
    memcached: MemcachedProcess,
) -> None:
    put(memcached, value(*map(note, range(2000))))
    async with running_cache(memcached) as cache:
        await cache.refresh("main")
        assert texts(cache.recents("main")) == [f"m{number}" for number in range(1995, 2000)]


# ------------------------------------------------------------------------------ big values


@pytest.mark.parametrize("letter", ["x", "é", "\0"])
async def test_a_value_that_would_be_too_big_is_cut_to_the_newest_that_fit(
    memcached: MemcachedProcess, letter: str
) -> None:
    """A control character is six bytes in JSON."""
    size = 65_536 // len(letter.encode())
    async with running_cache(memcached, limit=100) as cache:
        async with turning_loop():
            for number in range(100):
                cache.add("main", note(number, f"{number:03}" + letter * (size - 3)))
            await eventually(lambda: not cache._dirty)
        await cache.stop()
        assert cache.connected
        assert len(cache.recents("main")) == 100
    kept = [message[:3] for message in memcached.messages()]
    assert kept == [f"{number:03}" for number in range(100 - len(kept), 100)]
    in_bytes = len(memcached.command(b"get " + key()))
    assert MAX_VALUE - in_bytes // len(kept) < in_bytes < MAX_VALUE + 100


async def test_two_servers_with_big_values_agree_on_the_newest(
    memcached: MemcachedProcess,
) -> None:
    """What was cut is not missed when the value is read again."""
    async with running_cache(memcached, limit=100) as one, running_cache(memcached, 100) as two:
        for number in range(0, 40, 2):
            one.add("main", note(number, f"{number:03}" + "x" * 65_000))
            two.add("main", note(number + 1, f"{number + 1:03}" + "x" * 65_000))
        await eventually(lambda: not one._dirty and not two._dirty)
        await one.stop()
        await two.stop()
    kept = [each["message"][:3] for each in memcached.recents()]
    assert kept == [f"{number:03}" for number in range(40 - len(kept), 40)]
    assert len(kept) == 15


# --------------------------------------------------------------------------------- outages


async def test_without_memcached_the_recents_are_kept_in_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "aionotify"):
        async with running_cache(None) as cache:
            assert not cache.connected
            for number in range(8):
                cache.add("main", note(number))
            await cache.refresh("main")
            assert texts(cache.recents("main")) == ["m3", "m4", "m5", "m6", "m7"]
    assert len(caplog.records) == 1
    assert "connection refused" in caplog.text
    assert "recents are kept in memory" in caplog.text


async def test_an_idle_loss_is_noticed_within_two_seconds(memcached: MemcachedProcess) -> None:
    async with running_cache(memcached) as cache:
        memcached.kill()
        await eventually(lambda: not cache.connected, 2)


async def test_a_frozen_memcached_is_noticed_within_two_seconds(
    memcached: MemcachedProcess,
) -> None:
    async with running_cache(memcached) as cache:
        memcached.freeze()
        await eventually(lambda: not cache.connected, 2)
        memcached.thaw()


async def test_a_loss_that_a_read_notices_is_recovered_from(
    memcached: MemcachedProcess,
    hasty: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The task that looks after memcached is woken by it, and has none at that moment."""
    monkeypatch.setattr(aionotify.cache, "WRITE_INTERVAL", 0)
    with caplog.at_level(logging.INFO, "aionotify"):
        async with running_cache(memcached) as cache:
            cache.add("main", note(1))
            await eventually(lambda: memcached.messages() == ["m1"])
            await eventually(lambda: not cache._work.is_set(), what="there is nothing to do")
            memcached.kill()
            await cache.refresh("main")
            assert not cache.connected
            assert texts(cache.recents("main")) == ["m1"]
            memcached.start()
            await eventually(lambda: cache.connected, 3, "memcached is back")
            assert memcached.messages() == ["m1"]
    assert [each.levelname for each in caplog.records] == ["INFO", "WARNING", "INFO"]


async def test_what_was_published_during_an_outage_is_merged_with_what_others_stored(
    memcached: MemcachedProcess, hasty: None
) -> None:
    async with running_cache(memcached) as cache:
        for number in (1, 2):
            cache.add("main", note(number))
        await eventually(lambda: memcached.messages() == ["m1", "m2"])
        memcached.kill()
        await cache.refresh("main")
        for number in (3, 5, 7):
            cache.add("main", note(number))
        cache.add("other", note(9))
        memcached.start()
        put(memcached, value(note(4), note(6)))
        await eventually(lambda: cache.connected, 3, "memcached is back")
        await cache.refresh("main")
        assert texts(cache.recents("main")) == memcached.messages()
        assert memcached.messages()[-3:] == ["m5", "m6", "m7"]
        assert set(memcached.messages()) <= {f"m{number}" for number in range(1, 8)}
        assert memcached.messages("other") == ["m9"]


async def test_memcached_started_again_at_once_gets_everything_back(
    memcached: MemcachedProcess,
) -> None:
    """It answers at every look, as if nothing had been: but it is empty."""
    async with running_cache(memcached) as cache:
        for number in range(7):
            cache.add("main", note(number))
        await eventually(lambda: memcached.messages()[-1:] == ["m6"])
        memcached.kill()
        memcached.start()
        await eventually(lambda: memcached.messages() != [], 4, "something is stored again")
        assert memcached.messages() == ["m2", "m3", "m4", "m5", "m6"]


async def test_memcached_that_comes_up_late_is_given_everything(
    memcached: MemcachedProcess, hasty: None
) -> None:
    memcached.kill()
    async with running_cache(memcached) as cache:
        for number in range(7):
            cache.add("main", note(number))
        memcached.start()
        await eventually(lambda: cache.connected, 3)
        assert memcached.messages() == ["m2", "m3", "m4", "m5", "m6"]


async def test_an_older_list_takes_nothing_away(memcached: MemcachedProcess) -> None:
    async with running_cache(memcached) as cache:
        for number in (4, 5, 6):
            cache.add("main", note(number))
        await eventually(lambda: memcached.messages() == ["m4", "m5", "m6"])
        put(memcached, value(note(1), note(2), note(3)))
        await cache.refresh("main")
        assert texts(cache.recents("main")) == ["m2", "m3", "m4", "m5", "m6"]


async def test_stopping_while_memcached_is_frozen_takes_two_seconds_at_most(
    memcached: MemcachedProcess,
) -> None:
    async with running_cache(memcached) as cache:
        cache.add("main", note(1))
        memcached.freeze()
        started = time.monotonic()
        await cache.stop()
        assert time.monotonic() - started < 2.5
        memcached.thaw()


# ------------------------------------------------------------------------------ two caches


class Gated(Memcached):
    """A memcached whose every command waits to be let through."""

    all: "list[Gated]"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.waiting = 0
        self.done = 0
        self._turns = asyncio.Semaphore(0)
        self.all.append(self)

    async def get(self, key: bytes) -> Stored:
        """As it is, once let through."""
        await self._let_through()
        return await super().get(key)

    async def replace(self, key: bytes, value: bytes, ttl: int, token: int | None) -> bool:
        """As it is, once let through."""
        await self._let_through()
        return await super().replace(key, value, ttl, token)

    async def _let_through(self) -> None:
        self.waiting += 1
        await self._turns.acquire()
        self.waiting -= 1
        self.done += 1

    async def step(self) -> None:
        """Let one command through, if there is one, and wait for what comes next."""
        if self.waiting:
            before = self.done
            self._turns.release()
            await eventually(lambda: self.done > before)

    def open(self) -> None:
        """Let everything through from now on."""
        for _ in range(1000):
            self._turns.release()


@pytest.fixture(scope="module")
def shared() -> Iterator[MemcachedProcess]:
    """One memcached for all examples: each has a topic of its own."""
    process = MemcachedProcess()
    process.start()
    yield process
    process.kill()


TOPICS = itertools.count()

STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "command", "command"]), st.integers(0, 1)),
    min_size=5,
    max_size=40,
)


@given(steps=STEPS, limit=st.integers(1, 6), early=st.integers(0, 1))
@settings(max_examples=50, deadline=None)
def test_two_caches_end_with_the_newest_of_both_whatever_the_interleaving(
    shared: MemcachedProcess, steps: list[tuple[str, int]], limit: int, early: int
) -> None:
    """`early` stops before the other one does: its last write may be in between the other's."""
    asyncio.run(_interleave(shared, steps, limit, early))


async def _interleave(
    memcached: MemcachedProcess, steps: list[tuple[str, int]], limit: int, early: int
) -> None:
    topic = f"interleaving{next(TOPICS)}"
    numbers = itertools.count()
    Gated.all = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aionotify.cache.memcached, "Memcached", Gated)
        patch.setattr(aionotify.cache, "WRITE_INTERVAL", 0)
        patch.setattr(aionotify.cache, "HURRY_INTERVAL", 0)
        patch.setattr(aionotify.cache, "STOP_TIMEOUT", 9)
        async with running_cache(memcached, limit) as one, running_cache(memcached, limit) as two:
            caches, gates = (one, two), tuple(Gated.all)
            for what, who in steps:
                if what == "add":
                    caches[who].add(topic, replace(note(next(numbers)), topic=topic))
                    await eventually(lambda who=who: gates[who].waiting == 1)  # type: ignore[misc]
                else:
                    await gates[who].step()
            for gate in gates:
                gate.open()
            await caches[early].stop()
            await caches[1 - early].stop()
            assert one.connected
            assert two.connected
    count = next(numbers)
    newest = [f"m{number}" for number in range(max(0, count - limit), count)]
    assert memcached.messages(topic) == newest


async def test_two_caches_that_write_all_the_time_lose_nothing(
    memcached: MemcachedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither keeps the other one from ever getting through."""
    async with running_cache(memcached, 1000) as one, running_cache(memcached, 1000) as two:

        async def publish(cache: Cache, numbers: range) -> None:
            for number in numbers:
                cache.add("main", note(number))
                await asyncio.sleep(0.001)

        await asyncio.gather(publish(one, range(0, 400, 2)), publish(two, range(1, 400, 2)))
        await one.stop()
        await two.stop()
        assert one.connected
        assert two.connected
    assert memcached.messages() == [f"m{number}" for number in range(400)]
    assert "lost" not in caplog.text
