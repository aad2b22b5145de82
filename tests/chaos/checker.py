"""Whether what a client saw is what it was promised. Pure: it reads histories, and runs nothing."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Post:
    """A notification that was sent to the server, and not refused.

    `id` is None where no answer came: it may have been published or not. `generation` counts the
    processes that the server has been, `moment` is when it was sent.
    """

    topic: str
    message: str
    generation: int
    moment: float
    id: int | None


@dataclass(frozen=True, slots=True)
class Connected:
    """The server's answer arrived at `moment`. `since` is None for who saw nothing yet."""

    generation: int
    since: int | None
    moment: float = 0.0


@dataclass(frozen=True, slots=True)
class Received:
    """A notification."""

    id: int
    message: str


@dataclass(frozen=True, slots=True)
class Gap:
    """The server said that it missed so many, or an unknown number of them."""

    missed: int | None


Event = Connected | Received | Gap


@dataclass(slots=True)
class History:
    """All that one client saw. `to_the_end`: it was there when the last notification came."""

    name: str
    topic: str
    events: list[Event] = field(default_factory=list)
    to_the_end: bool = False


class Truth:
    """What was published, as far as anybody can know.

    `unclean` are the generations of which a successor cannot know everything: the process was
    killed, or there was no memcached that had everything when it ended or when its successor began.
    """

    def __init__(
        self, posts: Iterable[Post], histories: Iterable[History], unclean: Iterable[int] = ()
    ) -> None:
        self.unclean = frozenset(unclean)
        self.posts = {(post.topic, post.message): post for post in posts}
        self._ids = {key: post.id for key, post in self.posts.items() if post.id is not None}
        for history in histories:
            for event in history.events:
                if isinstance(event, Received):
                    self._ids.setdefault((history.topic, event.message), event.id)
        published: dict[str, list[tuple[int, Post]]] = defaultdict(list)
        for key, id in sorted(self._ids.items(), key=lambda item: item[1]):
            if key in self.posts:
                published[key[0]].append((id, self.posts[key]))
        self._published = published
        self._unknown = [post for key, post in self.posts.items() if key not in self._ids]

    def id_of(self, topic: str, message: str) -> int | None:
        """The one id that goes with a message; None for what was never published."""
        return self._ids.get((topic, message)) if (topic, message) in self.posts else None

    def between(self, topic: str, after: int, before: int | None) -> list[Post]:
        """What was published after one id and before the other, both excluded."""
        entries = self._published[topic]
        start = bisect_right(entries, after, key=lambda entry: entry[0])
        end = len(entries)
        if before is not None:
            end = bisect_left(entries, before, key=lambda entry: entry[0])
        return [post for _, post in entries[start:end]]

    def unknown(self, topic: str, first: int, last: int) -> int:
        """How many may have been published without anybody seeing them, in these generations."""
        return sum(
            post.topic == topic and first <= post.generation <= last for post in self._unknown
        )

    def forgotten(self, generation: int, later: int) -> bool:
        """Whether the process `later` cannot know all that was published in `generation`."""
        return any(each in self.unclean for each in range(generation, later))


def problems(history: History, truth: Truth) -> list[str]:
    """Every broken promise, in words; nothing if the client saw what it was to see."""
    return [f"{history.name}: {problem}" for problem in _Walk(history, truth).problems()]


class _Walk:
    """One pass over a history, from one notification to the next."""

    def __init__(self, history: History, truth: Truth) -> None:
        self._history = history
        self._topic = history.topic
        self._truth = truth
        self._connection = Connected(0, None)
        self._last: Received | None = None
        self._gaps: list[tuple[Connected, Gap]] = []
        self._warned = False
        """Whether this connection began with a gap of unknown size."""

    def problems(self) -> Iterator[str]:
        for event in self._history.events:
            if isinstance(event, Connected):
                yield from self._connected(event)
            elif isinstance(event, Gap):
                self._gaps.append((self._connection, event))
                self._warned |= event.missed is None
            else:
                yield from self._received(event)
        if self._history.to_the_end:
            yield from self._account(None)

    def _connected(self, event: Connected) -> Iterator[str]:
        last = self._last.id if self._last is not None else None
        if event.since != last:
            yield f"resumed after {event.since}, though it saw {last} last"
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
        """Whether the gaps before `event` are those, and only those, that there should be."""
        missing = self._missing(event)
        if missing and not self._gaps:
            yield f"a hole between {self._last} and {event}: {missing}"
        for connection, gap in self._gaps:
            if not missing and not self._may_miss(connection):
                yield f"a false {gap} between {self._last} and {event} in {connection}"
        yield from self._count(event, len(missing))

    def _missing(self, event: Received | None) -> list[Post]:
        """What was published between the last notification and this one.

        A client that is new is promised what is published once it is there, and recents without a
        hole, as far as the process can know. The same goes for one that resumes and is told first
        that an unknown number is missing: what a crash took may have stood anywhere among what
        earlier processes published, but nothing of this process's own may be missing further on.
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
        """Whether the process may have to warn, without knowing, of what may be missing."""
        if self._last is None:
            return False
        post = self._truth.posts.get((self._topic, self._last.message))
        start = post.generation if post is not None else 0
        return (
            self._truth.forgotten(start, connection.generation)
            or self._truth.unknown(self._topic, start, connection.generation) > 0
        )

    def _count(self, event: Received | None, missing: int) -> Iterator[str]:
        """A number that the server gives is exact."""
        counts = [gap.missed for connection, gap in self._gaps if connection is self._connection]
        known = sum(count for count in counts if count is not None)
        if not known:
            return
        most = missing + self._truth.unknown(self._topic, 0, self._connection.generation)
        least = missing if None not in counts else 0
        if not least <= known <= most:
            yield f"told of {known} missed between {self._last} and {event}, but it was {missing}"
