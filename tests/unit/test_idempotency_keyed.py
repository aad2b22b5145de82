"""Keys of notifications, for brokers of several nodes."""

from aionotify.idempotency import Scope, keyed
from aionotify.notification import Draft

SCOPE = Scope(b"sender", ("a", "b"), "key")


def keys(scope: Scope, *topics: str) -> list[str]:
    """Return the keys of notifications of these topics."""
    return [each.key for each in keyed([Draft(topic, "x", 1) for topic in topics], scope)]


def test_retry_has_the_same_keys() -> None:
    assert keys(SCOPE, "a", "b") == keys(SCOPE, "a", "b") == keys(SCOPE, "b", "a")[::-1]


def test_keys_differ_within_a_request() -> None:
    assert len({*keys(SCOPE, "a", "a", "b")}) == 3


def test_keys_differ_by_scope() -> None:
    others = [
        SCOPE._replace(sender=b"other"),
        SCOPE._replace(topics=("a",)),
        SCOPE._replace(key="other"),
        Scope(b"sende", ("ra", "b"), "key"),
    ]
    assert len({*keys(SCOPE, "a"), *(key for each in others for key in keys(each, "a"))}) == 5


def test_draft_stays_the_same() -> None:
    draft = Draft("a", "x", 3, b"yz")
    (found,) = keyed([draft], SCOPE)
    assert (found.topic, found.message, found.size, found.fields) == ("a", "x", 3, b"yz")
