"""The interface of brokers; its behavior is tested by `tests/support/broker_contract.py`."""

import inspect

import pytest

from aionotify.broker import Broker
from aionotify.broker.local import LocalBroker
from aionotify.broker.nats import NatsBroker

MEMBERS = sorted(name for name in vars(Broker) if not name.startswith("_"))


@pytest.mark.parametrize("broker", [LocalBroker, NatsBroker])
@pytest.mark.parametrize("name", MEMBERS)
def test_implementation_has_the_signature(name: str, broker: type) -> None:
    """The parameters of each method are the same, so that brokers can replace each other."""
    wanted, found = getattr(Broker, name), getattr(broker, name)
    if isinstance(wanted, property):
        assert isinstance(found, property)
    else:
        assert inspect.signature(found) == inspect.signature(wanted)
        assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(wanted)
