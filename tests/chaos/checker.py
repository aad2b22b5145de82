"""Checks the promises of the server against the transcript of each client. Pure: runs nothing."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Post:
    """A notification that was sent to the server and not rejected."""

    topic: str
    message: str
    generation: int
    """The number of the server process at that time: each restart adds one.

    Several nodes on one stream are one process here, and a deleted stream ends it.
    """
    moment: float
    """When it was sent, by the monotonic clock."""
    id: int | None
    """None if no response arrived: it may have been published or not."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The server accepted a connection."""

    generation: int
    since: int | None
    """The position from which the client resumed; None for a new client."""
    moment: float = 0.0
    """When the response arrived, by the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Received:
    """The client received a notification."""

    id: int
    message: str


@dataclass(frozen=True, slots=True)
class Gap:
    """The server reported a gap of `missed` notifications, or of an unknown number (None)."""

    missed: int | None
    id: int
    """The position from which nothing is missing anymore."""
    generation: int = 0
    """The generation that may have begun, if one ends while the client stays connected."""
    moment: float = 0.0
    """When it arrived, by the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The server stated the position of a client that is caught up."""

    id: int


Event = Connected | Received | Gap | Subscribed


@dataclass(slots=True)
class Transcript:
    """Everything that one client saw, over all its connections."""

    name: str
    topic: str
    events: list[Event] = field(default_factory=list)
    to_the_end: bool = False
    """Whether the client stayed until the last notification was published."""


class Truth:
    """The notifications that were published, as far as posts and transcripts show it.

    `unclean` are the generations whose successor cannot know all that they published: the process
    was killed, or memcached did not have everything when it ended or when its successor started.

    `limit` is how many notifications of a topic a cluster's stream retains. A node that is as many
    behind cannot tell whether it has missed one more, so it may report a gap.
    """

    def __init__(
        self,
        posts: Iterable[Post],
        transcripts: Iterable[Transcript],
        unclean: Iterable[int] = (),
        limit: int | None = None,
    ) -> None:
        self._limit = limit
        self.unclean = frozenset(unclean)
        self.posts = {(post.topic, post.message): post for post in posts}
        self._ids = {key: post.id for key, post in self.posts.items() if post.id is not None}
        # A post without a response was published after all if any client received it.
        for transcript in transcripts:
            for event in transcript.events:
                if isinstance(event, Received):
                    self._ids.setdefault((transcript.topic, event.message), event.id)
        published: dict[str, list[tuple[int, Post]]] = defaultdict(list)
        for key, id in sorted(self._ids.items(), key=lambda item: item[1]):
            if key in self.posts:
                published[key[0]].append((id, self.posts[key]))
        self._published = published
        self._unknown = [post for key, post in self.posts.items() if key not in self._ids]

    def id_of(self, topic: str, message: str) -> int | None:
        """Return the id of `message`, or None if it was never posted."""
        return self._ids.get((topic, message)) if (topic, message) in self.posts else None

    def between(self, topic: str, after: int, before: int | None) -> list[tuple[int, Post]]:
        """Return the posts between two ids, both excluded, with their ids.

        `before` None means no upper limit.
        """
        entries = self._published[topic]
        start = bisect_right(entries, after, key=lambda entry: entry[0])
        end = len(entries)
        if before is not None:
            end = bisect_left(entries, before, key=lambda entry: entry[0])
        return entries[start:end]

    def may_overflow(self, topic: str, after: int, moment: float) -> bool:
        """Return whether as many posts as the limit after an id were sent before `moment`."""
        if self._limit is None:
            return False
        newer = self.between(topic, after, None)[: self._limit]
        return len(newer) == self._limit and max(post.moment for _, post in newer) < moment

    def unknown(self, topic: str, first: int, last: int) -> int:
        """Return how many posts of these generations may have been published without a witness."""
        return sum(
            post.topic == topic and first <= post.generation <= last for post in self._unknown
        )

    def forgotten(self, generation: int, later: int) -> bool:
        """Return whether process `later` cannot know everything published in `generation`."""
        return any(each in self.unclean for each in range(generation, later))


def problems(transcript: Transcript, truth: Truth) -> list[str]:
    """Return a sentence for every broken promise, and nothing if all were kept."""
    return [f"{transcript.name}: {problem}" for problem in _Walk(transcript, truth).problems()]


class _Walk:
    """One pass over a transcript, from one position of the client to the next.

    A notification, a gap and `Subscribed` each state a position. Up to there, the client must have
    received everything, or a gap must account for it.
    """

    def __init__(self, transcript: Transcript, truth: Truth) -> None:
        self._transcript = transcript
        self._topic = transcript.topic
        self._truth = truth
        self._received = {each.id for each in transcript.events if isinstance(each, Received)}
        self._connection = Connected(0, None)
        self._caught_up = False
        """Whether this connection has stated its position."""
        self._position: int | None = None
        """The last one stated, from which the client has to resume."""
        self._stated_in = 0
        """The generation that could first state it."""
        self._accounted = 0
        """Everything up to this id was received, or is accounted for."""
        self._excused = self._vague = 0
        """The highest position of this connection's gaps, and of those of unknown size."""
        self._gaps: list[Gap] = []
        """The gaps reported since `_accounted`."""

    def problems(self) -> Iterator[str]:
        for event in self._transcript.events:
            match event:
                case Connected():
                    yield from self._on_connected(event)
                case Gap():
                    yield from self._on_gap(event)
                case Subscribed():
                    yield from self._on_subscribed(event)
                case Received():
                    yield from self._on_received(event)
        if self._transcript.to_the_end:
            yield from self._account(None)

    def _on_connected(self, event: Connected) -> Iterator[str]:
        if event.since != self._position:
            yield f"resumed from {event.since}, although its position was {self._position}"
        if event.since is not None and event.since > self._accounted:  # the position of a gap
            yield from self._account(event.since + 1)
        self._connection = event
        self._caught_up = False
        self._excused = self._vague = 0
        self._gaps.clear()

    def _on_gap(self, gap: Gap) -> Iterator[str]:
        yield from self._check_position(gap)
        entries = self._truth.between(self._topic, self._accounted, gap.id + 1)
        if all(id in self._received for id, _ in entries) and not self._may_miss(gap):
            yield f"a false {gap} after {self._position} in {self._connection}"
        self._excused = max(self._excused, gap.id)
        if gap.missed is None:
            self._vague = max(self._vague, gap.id)
        self._gaps.append(gap)
        self._state(gap.id, self._connection.generation)

    def _on_subscribed(self, event: Subscribed) -> Iterator[str]:
        if self._caught_up:
            yield f"was told its position twice: {event}"
        yield from self._check_position(event)
        yield from self._account(event.id + 1)
        self._caught_up = True
        self._state(event.id, self._connection.generation)

    def _on_received(self, event: Received) -> Iterator[str]:
        known = self._truth.id_of(self._topic, event.message)
        if known is None:
            yield f"got {event}, which was never published"
        elif known != event.id:
            yield f"got {event}, whose id is {known}"
        if event.id <= self._accounted:
            yield f"got {event} after {self._accounted}: twice, out of order, or a wrong position"
            return
        yield from self._account(event.id)
        self._accounted = event.id
        post = self._truth.posts.get((self._topic, event.message))
        self._state(event.id, post.generation if post is not None else 0)

    def _state(self, id: int, generation: int) -> None:
        self._position, self._stated_in = id, generation

    def _check_position(self, event: Gap | Subscribed) -> Iterator[str]:
        """Report a position with which the client would go back."""
        if self._position is not None and event.id < self._position:
            yield f"{event} is behind {self._position}"

    def _account(self, before: int | None) -> Iterator[str]:
        """Report notifications missing between `_accounted` and `before`, unless a gap explains it.

        The losses of a crash may lie anywhere before the position of the gap that follows it,
        all others only where a gap is reported.
        """
        missing = self._missing(before)
        holes = [
            post
            for id, post in missing
            if id > self._excused or not (self._gaps or self._is_forgotten(post))
        ]
        if holes:
            yield f"a hole between {self._accounted} and {before}: {holes}"
        yield from self._count(before, len(missing))
        self._gaps.clear()
        if before is not None:
            self._accounted = max(self._accounted, before - 1)

    def _missing(self, before: int | None) -> list[tuple[int, Post]]:
        """Return the posts that the client should have received before the id `before`.

        A new client is promised everything that is published once it is connected, and recent
        notifications without a hole, as far as the process can know.
        """
        missing = self._truth.between(self._topic, self._accounted, before)
        if self._position is None:
            return [each for each in missing if each[1].moment > self._connection.moment]
        if self._connection.since is None and not self._caught_up:
            return [each for each in missing if not self._is_forgotten(each[1])]
        return missing

    def _is_forgotten(self, post: Post) -> bool:
        return self._truth.forgotten(post.generation, self._connection.generation)

    def _may_miss(self, gap: Gap) -> bool:
        """Return whether the process may have had to report `gap` although nothing was missed."""
        if gap.missed is None and self._truth.may_overflow(self._topic, gap.id, gap.moment):
            return True
        here = max(self._connection.generation, gap.generation)
        return self._position is not None and (
            self._truth.forgotten(self._stated_in, here)
            or self._truth.unknown(self._topic, self._stated_in, here) > 0
        )

    def _count(self, before: int | None, missing: int) -> Iterator[str]:
        """Report a number of missed notifications that is not exact."""
        known = sum(gap.missed or 0 for gap in self._gaps)
        if not known:
            return
        most = missing + self._truth.unknown(self._topic, 0, self._connection.generation)
        least = missing if self._accounted >= self._vague else 0
        if not least <= known <= most:
            yield f"was told of {known} missed after {self._accounted}, before {before}: {missing}"
