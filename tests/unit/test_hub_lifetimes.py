"""The lifetimes of topics and clients in the hub."""

import gc
import weakref

from aionotify.hub import Hub
from tests.support.builders import join
from tests.support.loop import HandLoop


def test_topic_is_created_once() -> None:
    hub = Hub(1000, 3600, 10)
    main, other = hub.create_topic("main"), hub.create_topic("other")
    assert hub.get_topic("main") is main
    assert main is not other


def test_heartbeat_keeps_no_client_alive(loop: HandLoop) -> None:
    """The loop waits for the next heartbeat without a variable that holds the last client."""
    hub = Hub(1000, 3600, 10)
    task = loop.create_task(hub.heartbeat(10))
    client = join(hub.create_topic("main"))
    loop.advance(10.5)
    assert client.take() == b"\x89\x00"
    connection = weakref.ref(client)
    client.lose()
    loop.settle()
    del client
    gc.collect()
    assert connection() is None
    task.cancel()
    loop.settle()
