"""The recent notifications in a `FakeMemcached`, and how often they were read."""

import json

from tests.support.fault_server import FakeMemcached

KEY = b"aionotify:1:recent:main"
OTHER_KEY = b"aionotify:1:recent:other"


def stored(fake: FakeMemcached, key: bytes = KEY) -> list[str]:
    """Return the messages of the stored recent notifications of a topic, oldest first."""
    document = json.loads(fake.values[key][0])
    return [each["message"] for each in document["notifications"]]


def reads(fake: FakeMemcached) -> int:
    """Return how often the value of the topic `main` was read, alone or with others."""
    return sum(each.startswith(b"gets ") and KEY in each.split() for each in fake.commands)
