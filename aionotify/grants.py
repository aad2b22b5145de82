"""What a token allows: the topics to publish and subscribe to, and until when. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

_PATTERN = re.compile(r"([A-Za-z0-9_.-]{1,64})|([A-Za-z0-9_.-]{0,64})\*")
"""The name of a topic, or a prefix in front of a star."""


@dataclass(frozen=True, slots=True)
class Topics:
    """A set of topics, by name and by prefix. The empty prefix stands for all topics."""

    names: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    def __contains__(self, topic: str) -> bool:
        return topic in self.names or topic.startswith(self.prefixes)

    def __str__(self) -> str:
        return " ".join([*sorted(self.names), *(f"{each}*" for each in self.prefixes)]) or "nothing"

    @classmethod
    def from_words(cls, words: Sequence[str], verb: str) -> Self:
        """Return the topics in the words `<verb>:<topic>` and `<verb>:<prefix>*`.

        Other words are passed over, also those with a star elsewhere than at their end.
        """
        found = [
            match
            for word in words
            if word.startswith(verb + ":") and (match := _PATTERN.fullmatch(word[len(verb) + 1 :]))
        ]
        names = frozenset(match[1] for match in found if match[1] is not None)
        prefixes = {match[2] for match in found if match[2] is not None}
        return cls(names, tuple(sorted(prefixes)))


NO_TOPICS = Topics()
ALL_TOPICS = Topics(prefixes=("",))


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do. Only that of a JWT has an end; it may have a subject."""

    publish: Topics = NO_TOPICS
    subscribe: Topics = NO_TOPICS
    subject: str | None = None
    """The claim `sub`: the user for whom a JWT was issued."""
    expires: int | None = None
    """The claim `exp`, in seconds since the epoch; None: never."""

    def may_publish(self, topic: str) -> bool:
        """Return whether notifications may be published to `topic`."""
        return topic in self.publish

    def may_subscribe(self, topic: str) -> bool:
        """Return whether `topic` may be subscribed to and read."""
        return topic in self.subscribe

    @classmethod
    def from_scope(cls, scope: str, subject: str | None, expires: int) -> Self:
        """Return the grant of a JWT with the claim `scope` (RFC 8693 §4.2)."""
        words = scope.split(" ")
        publish, subscribe = (Topics.from_words(words, verb) for verb in ("publish", "subscribe"))
        return cls(publish, subscribe, subject, expires)
