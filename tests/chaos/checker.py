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
    """The number of the server process at that time: each restart adds one."""
    moment: float
    """When it was sent, by the monotonic clock."""
    id: int | None
    """None if no response arrived: it may have been published or not."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The server accepted a connection."""

    generation: int
    since: int | None
    """The id after which the client resumed; None for a client that had seen nothing."""
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


Event = Connected | Received | Gap


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
    """

    def __init__(
        self,
        posts: Iterable[Post],
        transcripts: Iterable[Transcript],
        unclean: Iterable[int] = (),
    ) -> None:
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

    def between(self, topic: str, after: int, before: int | None) -> list[Post]:
        """Return the posts between two ids, both excluded. `before` None means no upper limit."""
        entries = self._published[topic]
        start = bisect_right(entries, after, key=lambda entry: entry[0])
        end = len(entries)
        if before is not None:
            end = bisect_left(entries, before, key=lambda entry: entry[0])
        return [post for _, post in entries[start:end]]

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
    """One pass over a transcript, from one notification to the next."""

    def __init__(self, transcript: Transcript, truth: Truth) -> None:
        self._transcript = transcript
        self._topic = transcript.topic
        self._truth = truth
        self._connection = Connected(0, None)
        self._last: Received | None = None
        self._gaps: list[tuple[Connected, Gap]] = []
        """The gaps reported since the last notification."""
        self._warned = False
        """Whether this connection started with a gap of unknown size."""

    def problems(self) -> Iterator[str]:
        for event in self._transcript.events:
            if isinstance(event, Connected):
                yield from self._connected(event)
            elif isinstance(event, Gap):
                self._gaps.append((self._connection, event))
                self._warned |= event.missed is None
            else:
                yield from self._received(event)
        if self._transcript.to_the_end:
            yield from self._account(None)

    def _connected(self, event: Connected) -> Iterator[str]:
        last = self._last.id if self._last is not None else None
        if event.since != last:
            yield f"resumed after {event.since}, although it saw {last} last"
        self._connection = event
        self._warned = False

    def _received(self, event: Received) -> Iterator[str]:
        known = self._truth.id_of(self._topic, event.message)
        if known is None:
            yield f"got {event}, which was never published"
        elif known != event.id:
            yield f"got {event}, whose id is {known}"
        if self._last is not None and event.id <= self._last.id:
            yield f"got {event} after {self._last}: twice, or out of order"
            return
        yield from self._account(event)
        self._last = event
        self._gaps.clear()

    def _account(self, event: Received | None) -> Iterator[str]:
        """Report missing gaps and false gaps between the last notification and `event`."""
        missing = self._missing(event)
        if missing and not self._gaps:
            yield f"a hole between {self._last} and {event}: {missing}"
        for connection, gap in self._gaps:
            if not missing and not self._may_miss(connection):
                yield f"a false {gap} between {self._last} and {event} in {connection}"
        yield from self._count(event, len(missing))

    def _missing(self, event: Received | None) -> list[Post]:
        """Return the posts that the client should have received before `event`.

        A new client is promised everything published once it is connected, and recent
        notifications without a hole as far as the process can know. The same holds for a client
        that resumes and is first told that an unknown number is missing: the losses of a crash
        may lie anywhere among the notifications of earlier processes, but no notification of the
        current process may be missing.
        """
        last = self._last.id if self._last is not None else 0
        missing = self._truth.between(self._topic, last, event.id if event else None)
        if self._last is None:
            return [post for post in missing if post.moment > self._connection.moment]
        if self._connection.since is None or self._warned:
            return [
                post
                for post in missing
                if not self._truth.forgotten(post.generation, self._connection.generation)
            ]
        return missing

    def _may_miss(self, connection: Connected) -> bool:
        """Return whether the process may have had to report a gap although nothing was missed."""
        if self._last is None:
            return False
        post = self._truth.posts.get((self._topic, self._last.message))
        start = post.generation if post is not None else 0
        return (
            self._truth.forgotten(start, connection.generation)
            or self._truth.unknown(self._topic, start, connection.generation) > 0
        )

    def _count(self, event: Received | None, missing: int) -> Iterator[str]:
        """Report a number of missed notifications that is not exact."""
        counts = [gap.missed for connection, gap in self._gaps if connection is self._connection]
        known = sum(count for count in counts if count is not None)
        if not known:
            return
        most = missing + self._truth.unknown(self._topic, 0, self._connection.generation)
        least = missing if None not in counts else 0
        if not least <= known <= most:
            yield f"was told of {known} missed between {self._last} and {event}, not of {missing}"
