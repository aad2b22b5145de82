"""The progress of a node in the stream, and its next step after each piece of news. Pure."""

from enum import Enum, auto

from aionotify.broker.nats.stream import Info, Place

MAX_BELOW = 5
"""Answers in a row that must end below our place before the stream is believed to have gone back.

A replica that has just become the leader may not know yet the messages that it is about to apply.
"""


class Step(Enum):
    """The next step after a message, or an answer of the stream's leader."""

    TAKE = auto()
    """It is the next one: deliver it."""

    IGNORE = auto()
    """It is known already, or proves nothing."""

    FILL = auto()
    """Others are missing before it: fetch them."""

    CURRENT = auto()
    """Nothing is missing."""

    WENT_BACK = auto()
    """The stream was deleted, or is an older copy: begin anew behind the last delivered message."""


class Progress:
    """The place in the stream up to which everything was delivered.

    The caller moves it by `take` and `skip_to` only, in order of the numbers.
    """

    def __init__(self) -> None:
        self.created = ""
        """When the stream was created; empty until it was seen first."""
        self.last = 0
        """The number up to which everything was delivered."""
        self.newest = 0
        """The highest number that was seen anywhere."""
        self.last_time = 0
        """The latest time of all messages that were delivered, in ns."""
        self._last_place: Place | None = None
        """That of the last message that was delivered, and not passed over."""
        self._below = 0

    def on_live(self, place: Place) -> Step:
        """Decide about a message that has just been stored; it may be late, double or lost."""
        self.newest = max(self.newest, place.seq)
        if place.seq > self.last:
            return Step.TAKE if place.seq == self.last + 1 else Step.FILL
        # Numbers rise with the time, so a message that is newer than a delivered one with a higher
        # number was given a number again. Numbers that were passed over may be of any time.
        known = self._last_place
        again = known is not None and place.seq <= known.seq and place.time > self.last_time
        return Step.WENT_BACK if again else Step.IGNORE

    def on_fetched(self, place: Place) -> Step:
        """Decide about a message that was fetched, from `last` on: the first one proves the place.

        The numbers of deleted messages are missing, so a higher number is taken, too.
        """
        if place.seq > self.last:
            return Step.TAKE
        known = self._last_place
        same = known is None or place.seq != known.seq or place.time == known.time
        return Step.IGNORE if same else Step.WENT_BACK

    def on_info(self, info: Info, asked_at: int) -> Step:
        """Decide about the state of the stream; `asked_at` is `last` when it was asked for.

        Live messages overtake the answer, so it may be older than messages delivered since.
        """
        if self.created and info.created != self.created:
            return Step.WENT_BACK
        if info.last_seq < asked_at:
            self._below += 1
            return Step.WENT_BACK if self._below >= MAX_BELOW else Step.IGNORE
        self._below = 0
        self.newest = max(self.newest, info.last_seq)
        return Step.FILL if info.last_seq > self.last else Step.CURRENT

    def take(self, place: Place) -> None:
        """Note that the message at `place` was delivered."""
        self.last, self._last_place = place.seq, place
        self.last_time = max(self.last_time, place.time)

    def skip_to(self, seq: int) -> None:
        """Note that nothing up to `seq` is left to be delivered."""
        self.last = seq
        self.newest = max(self.newest, seq)

    def begin(self, created: str, last: int) -> None:
        """Begin, for the first time or anew, behind the number `last` of a stream."""
        self.created, self._below = created, 0
        self.last = self.newest = last
        self._last_place = None
