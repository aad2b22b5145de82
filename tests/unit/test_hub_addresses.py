"""The limit on clients from one address."""

import pytest

from aionotify.errors import Stopping, TooManyRequests, Unavailable
from aionotify.hub import Hub
from tests.support.builders import join
from tests.support.loop import HandLoop


def test_full_address_is_rejected(loop: HandLoop) -> None:
    """A full server has the first word: the client cannot do anything about it."""
    hub = Hub(10, 3600, max_connections=2)
    hub.stats.addresses.limit = 1
    topic = hub.create_topic("main")
    client = join(topic)
    address = client.protocol.address
    hub.ensure_capacity("198.51.100.7")
    with pytest.raises(TooManyRequests, match=r"^Too many clients are connected from your address"):
        hub.ensure_capacity(address)
    other = join(topic)
    with pytest.raises(Unavailable):
        hub.ensure_capacity(address)
    client.lose()
    other.lose()
    loop.settle()
    hub.ensure_capacity(address)


async def test_stopping_server_says_so() -> None:
    hub = Hub(10, 3600, max_connections=2)
    hub.stats.addresses.limit = 1
    await hub.shutdown(0)
    with pytest.raises(Stopping):
        hub.ensure_capacity("192.0.2.1")
