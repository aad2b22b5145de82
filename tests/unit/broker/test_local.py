"""The broker of a single process: the contract of brokers, and resuming in the corners."""

from collections.abc import Iterator

import pytest

from aionotify.broker.local import LocalBroker
from aionotify.cache import Cache
from aionotify.hub import Hub
from aionotify.ids import IdSource
from aionotify.net import Address
from tests.support.broker_contract import BrokerContract, Node, Start, drafts
from tests.support.memcached import MemcachedProcess
from tests.support.stored import Process, Store, stored


class TestLocalBroker(BrokerContract):
    """With a real memcached."""

    @pytest.fixture
    def start(self, memcached: MemcachedProcess) -> Start:
        """Start a broker on a memcached of its own."""

        async def start() -> Node:
            ids, hub = IdSource(), Hub(1000, 3600, 100)
            cache = Cache([Address("127.0.0.1", memcached.port)], 5, 3600, ids)
            broker = LocalBroker(hub, cache, ids)
            await broker.start()
            return Node(hub, broker)

        return start


@pytest.fixture
def store() -> Iterator[Store]:
    """A memcached in memory; time passes when its clock is set."""
    with stored() as store:
        yield store


async def started(ttl: int = 2) -> Process:
    """Start a server."""
    process = Process(ttl=ttl)
    await process.broker.start()
    return process


async def publish(process: Process, *messages: str) -> list[int]:
    """Publish to `main`, each a millisecond after the other; return the ids."""
    ids = []
    for message in messages:
        process.clock.now += 0.001
        published = await process.broker.publish(drafts(message), wait_stored=True)
        ids.append(published[0].id)
    return ids


async def since(process: Process, id: int) -> tuple[list[str], bool]:
    """Poll `main`: the messages after `id`, and whether they are complete."""
    page = await process.notifier.since(["main"], id)
    return [each.message for each in page.notifications], page.complete


async def test_client_that_saw_nothing_resumes(store: Store) -> None:
    """It was told a position when the topic was empty, and misses nothing from there."""
    server = await started()
    position = (await server.notifier.recent()).id
    await publish(server, *"12345678")
    assert await since(server, position) == ([*"12345678"], True)
    await server.broker.stop()


async def test_quiet_topic_reports_no_gap(store: Store) -> None:
    """Everything has expired, also over a restart: nothing was missed after the last."""
    server = await started()
    (last,) = await publish(server, "x")
    for _ in range(2):
        store.clock.now += 5
        await server.hub.expire()
        assert await since(server, last) == ([], True)
    await server.broker.stop()
    server = await started()
    store.clock.now += 3600
    assert await since(server, last) == ([], True)
    await server.broker.stop()


async def test_expired_notification_is_one_gap(store: Store) -> None:
    """It is told once, with the position from which nothing is missing."""
    server = await started()
    first, _ = await publish(server, "seen", "missed")
    store.clock.now += 5
    await server.hub.expire()
    page = await server.notifier.since(["main"], first)
    assert (page.notifications, page.complete) == ([], False)
    assert await since(server, page.id) == ([], True)
    await server.broker.stop()


async def test_crash_is_a_gap(store: Store) -> None:
    """Also right after a clean restart: the marker is gone before anything is published."""
    server = await started(3600)
    (last,) = await publish(server, "x")
    await server.broker.stop()
    server = await started(3600)
    await server.crash()
    store.clock.now += 0.001
    server = await started(3600)
    assert await since(server, last) == ([], False)
    await server.broker.stop()


async def test_crash_is_a_gap_when_the_clock_is_set_back(store: Store) -> None:
    server = await started(3600)
    (last,) = await publish(server, "x")
    await server.crash()
    store.clock.now -= 60
    server = await started(3600)
    page = await server.notifier.since(["main"], last)
    assert not page.complete
    assert await since(server, page.id) == ([], True)
    assert (await publish(server, "y"))[0] > page.id > last
    await server.broker.stop()


async def test_marker_is_believed_for_minutes_only(store: Store) -> None:
    """A server that ran in between without this memcached could not have removed it."""
    server = await started(3600)
    (last,) = await publish(server, "x")
    await server.broker.stop()
    store.clock.now += 299
    server = await started(3600)
    assert await since(server, last) == ([], True)
    await server.broker.stop()
    store.clock.now += 301
    server = await started(3600)
    assert await since(server, last) == ([], False)
    await server.broker.stop()


async def test_other_servers_publish_is_a_gap(store: Store) -> None:
    """Two servers share recent notifications, not live ones: the others are missing."""
    one, two = await started(3600), await started(3600)
    (a1,) = await publish(one, "a1")
    assert await since(two, a1) == ([], True)
    await publish(one, "a2")
    page = await two.notifier.recent()
    assert [each.message for each in page.notifications] == ["a1", "a2"]
    assert await since(two, a1) == ([], False)
    assert await since(two, page.id) == ([], True)
    await one.broker.stop()
    await two.broker.stop()


async def test_clock_ahead_hides_no_acknowledged(store: Store) -> None:
    """One server's clock is 5 s ahead: the other's notification is the newest all the same."""
    one, two = await started(3600), await started(3600)
    await two.notifier.recent()  # the other one has read the topic once
    store.clock.now += 5
    await publish(one, "a1", "a2", "a3", "a4", "a5")
    store.clock.now -= 5
    await publish(two, "b1")
    wanted = ["a2", "a3", "a4", "a5", "b1"]
    for server in (two, one, await started(3600)):
        page = await server.notifier.recent()
        assert [each.message for each in page.notifications] == wanted
    await publish(two, "b2")
    page = await two.notifier.recent()
    assert [each.message for each in page.notifications] == [*wanted[1:], "b2"]


async def expired_unread(store: Store) -> tuple[Process, Process, int]:
    """Start two servers; a publish of the first expires before the second one reads it.

    The id is the second server's position before it.
    """
    one, two = await started(), await started()
    position = (await two.notifier.recent()).id
    for server in (one, two, one, two):
        await server.check()
    await publish(one, "never read")
    store.clock.now += 5
    return one, two, position


async def test_expired_publish_of_another_server_is_a_gap(store: Store) -> None:
    """It was never read here, and memcached has forgotten it."""
    one, two, position = await expired_unread(store)
    assert await since(two, position) == ([], False)
    await one.broker.stop()
    await two.broker.stop()


async def test_clean_stop_beside_another_server_promises_nothing(store: Store) -> None:
    """A notification of the other one may have expired unread in the meantime."""
    one, two, position = await expired_unread(store)
    await two.broker.stop()
    two = await started()
    assert await since(two, position) == ([], False)
    await one.broker.stop()
    await two.broker.stop()
