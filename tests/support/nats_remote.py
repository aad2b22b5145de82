"""A stream whose state is set by hand, and the delivery of its messages."""

from typing import cast

from aionotify.broker.nats.delivery import HubDelivery
from aionotify.broker.nats.publisher import Publisher
from aionotify.broker.nats.remote import Remote
from aionotify.broker.nats.stream import Info, Stream
from aionotify.hub import Hub

LIMIT = 3
"""Messages that a topic may have."""

CONFIG = {"max_msgs_per_subject": LIMIT, "max_age": 0, "duplicate_window": 0, "storage": ""}
"""The limits of the stream, which are those that a node wants."""


def new_delivery(hub: Hub, remote: object) -> HubDelivery:
    """Return a delivery from the stream `s`, whose state `remote` knows, to `hub`."""
    publisher = cast(Publisher, type("P", (), {"atomic": False})())
    return HubDelivery(hub, Stream("s", 100), cast(Remote, remote), publisher)


class FakeRemote:
    """Knows how many messages each subject has, and which one is the oldest."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.oldest_seqs: dict[str, int] = {}
        self.first_seq = 0

    def wanted(self) -> dict[str, object]:
        return dict(CONFIG)

    def put(self, subject: str, count: int, oldest: int) -> None:
        """Let a subject have so many messages."""
        self.counts[subject], self.oldest_seqs[subject] = count, oldest

    async def subjects(self) -> dict[str, int]:
        return self.counts

    async def oldest(self, subjects: set[str]) -> dict[str, int]:
        return {each: self.oldest_seqs[each] for each in subjects}

    async def info(self) -> Info:
        return Info("then", self.first_seq, 0, 0, CONFIG)
