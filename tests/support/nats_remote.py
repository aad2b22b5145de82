"""A stream whose state is set by hand."""

from aionotify.broker.nats.stream import Info

LIMIT = 3
"""Messages that a topic may have."""


class FakeRemote:
    """Knows how many messages each subject has, and which one is the oldest."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.oldest_seqs: dict[str, int] = {}
        self.first_seq = 0

    def wanted(self) -> dict[str, object]:
        return {"max_msgs_per_subject": LIMIT, "max_age": 0, "duplicate_window": 0, "storage": ""}

    def put(self, subject: str, count: int, oldest: int) -> None:
        """Let a subject have so many messages."""
        self.counts[subject], self.oldest_seqs[subject] = count, oldest

    async def subjects(self) -> dict[str, int]:
        return self.counts

    async def oldest(self, subjects: set[str]) -> dict[str, int]:
        return {each: self.oldest_seqs[each] for each in subjects}

    async def info(self) -> Info:
        return Info("then", self.first_seq, 0, 0, self.wanted())
