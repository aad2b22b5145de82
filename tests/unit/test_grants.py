"""Grants: the words of a scope, and which topics they cover."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.grants import ALL_TOPICS, NO_TOPICS, Grant, Topics

NAMES = st.text(st.sampled_from("abAB09_.-"), min_size=1, max_size=64)


def grant(scope: str) -> Grant:
    """Return the grant of a token with this scope."""
    return Grant.from_scope(scope, "42", 1)


@pytest.mark.parametrize(
    ("scope", "topic", "covered"),
    [
        ("subscribe:orders", "orders", True),
        ("subscribe:orders", "orders2", False),
        ("subscribe:orders", "order", False),
        ("subscribe:orders", "Orders", False),
        ("subscribe:user.*", "user.42", True),
        ("subscribe:user.*", "user.", True),
        ("subscribe:user.*", "user", False),
        ("subscribe:user.*", "users.42", False),
        ("subscribe:*", "anything", True),
        ("openid subscribe:a profile", "a", True),
        ("publish:a", "a", False),
        ("SUBSCRIBE:a", "a", False),
        ("subscribe:", "a", False),
        ("subscribe:**", "a", False),
        ("subscribe:a*b", "aXb", False),
        ("subscribe:*a", "a", False),
        ("subscribe:a,b", "a", False),
        ("subscribe:a\tsubscribe:b", "b", False),
        ("subscribe:a\n", "a", False),
        ("subscribe", "a", False),
        ("", "a", False),
        ("*", "a", False),
        (" subscribe:a  subscribe:b ", "b", True),
    ],
)
def test_scope_covers_topics(scope: str, topic: str, covered: bool) -> None:
    assert grant(scope).may_subscribe(topic) is covered
    # The verb `publish` has the same grammar.
    other = scope.replace("publish:", "x:").replace("subscribe:", "publish:")
    assert grant(other).may_publish(topic) is covered


@given(prefix=NAMES, topic=NAMES)
def test_prefix_covers_what_starts_with_it(prefix: str, topic: str) -> None:
    found = grant(f"publish:{prefix}* publish:{topic}")
    assert found.may_publish(prefix[:64])
    assert found.may_publish(topic)
    assert not found.may_subscribe(topic)
    assert grant(f"publish:{prefix}*").may_publish(topic) == topic.startswith(prefix)


@given(scope=st.text(max_size=80), topic=NAMES)
def test_no_other_text_grants_anything(scope: str, topic: str) -> None:
    words = scope.split(" ")
    if not any(word.startswith(("publish:", "subscribe:")) for word in words):
        assert grant(scope) == Grant(NO_TOPICS, NO_TOPICS, "42", 1)


def test_only_the_empty_prefix_covers_everything() -> None:
    """A star is in no name: `may_subscribe("*")` asks for all topics."""
    assert grant("subscribe:*").may_subscribe("*")
    assert grant("subscribe:*").subscribe == ALL_TOPICS
    many = " ".join(f"subscribe:{character}*" for character in "abcdefghijklmnopqrstuvwxyz_.-")
    assert not grant(many).may_subscribe("*")
    assert "*" not in NO_TOPICS


def test_topics_are_shown_to_people() -> None:
    assert str(Topics(frozenset({"b", "a"}), ("user.",))) == "a b user.*"
    assert str(NO_TOPICS) == "nothing"
