"""Settings for an application under test."""

from typing import Any

from aionotify.net import Address
from aionotify.settings import Settings
from tests.support.waiting import free_port


def alone(**values: Any) -> Settings:
    """Return settings without a reachable memcached, on a free port of 127.0.0.1.

    `values` replace or add to these.
    """
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "memcached_hosts": (Address("127.0.0.1", free_port()),),
    }
    return Settings(**(settings | values))
