"""The checker of the chaos test reports every broken promise, and nothing else."""

import pytest

from tests.chaos.checker import (
    Connected,
    Event,
    Gap,
    Post,
    Received,
    Subscribed,
    Transcript,
    Truth,
    problems,
)

FRESH = Connected(0, None, 2.0)


def post(id: int, generation: int = 0) -> Post:
    return Post("main", f"m{id}", generation, 1.0, id)


def got(*ids: int) -> list[Event]:
    return [Received(id, f"m{id}") for id in ids]


POSTS = [*(post(id) for id in range(1, 6)), *(post(id, 1) for id in range(6, 10))]


def found(
    events: list[Event],
    unclean: tuple[int, ...] = (),
    posts: list[Post] = POSTS,
    others: tuple[Transcript, ...] = (),
    to_the_end: bool = True,
) -> list[str]:
    """Return the problems that the checker finds for a client with these events."""
    transcript = Transcript("client", "main", events, to_the_end)
    return problems(transcript, Truth(posts, [transcript, *others], unclean))


RESUMED: list[Event] = [FRESH, *got(1, 2, 3), Connected(1, 3), *got(4, 5, 6, 7, 8, 9)]

GOOD: dict[str, list[Event]] = {
    "all notifications": [FRESH, *got(*range(1, 10))],
    "recents first": [FRESH, *got(*range(4, 10))],
    "recents, then the position": [FRESH, *got(3, 4), Subscribed(4), *got(*range(5, 10))],
    "a position only": [FRESH, Subscribed(3), *got(*range(4, 10))],
    "resumed": RESUMED,
    "resumed twice with nothing in between": [
        *[FRESH, *got(1, 2), Connected(0, 2), Connected(1, 2), *got(*range(3, 10))]
    ],
    "resumed from a position only": [
        *[FRESH, Subscribed(3), Connected(0, 3), Subscribed(3), Connected(1, 3), *got(4, 5, 6)],
        *[Subscribed(6), *got(7, 8, 9)],
    ],
    "missed with a gap": [FRESH, *got(1, 2), Connected(1, 2), Gap(None, 5), *got(*range(6, 10))],
    "resumed from a gap": [
        *[FRESH, *got(1, 2), Connected(0, 2), Gap(None, 5), Connected(1, 5), *got(*range(6, 10))]
    ],
    "a replay from before the position of its gap": [
        *[FRESH, *got(1), Connected(1, 1), Gap(None, 5), *got(3, 4, 5), Subscribed(5)],
        *got(*range(6, 10)),
    ],
    "an exact gap": [FRESH, *got(1, 2), Gap(4, 6), *got(7, 8, 9)],
    "two exact gaps": [FRESH, *got(1, 2), Gap(3, 5), Gap(1, 6), *got(7, 8, 9)],
    "an exact gap, then the position": [FRESH, *got(1, 2), Gap(4, 6), Subscribed(6), *got(7, 8, 9)],
    "resumed from an exact gap": [FRESH, *got(1, 2), Gap(4, 6), Connected(1, 6), *got(7, 8, 9)],
    "a gap at the end": [FRESH, *got(1, 2), Gap(None, 9)],
}

BAD: dict[str, tuple[list[Event], str]] = {
    "duplicate": ([FRESH, *got(1, 2, 2, *range(3, 10))], "twice, out of order"),
    "duplicate after resuming": (
        [FRESH, *got(1, 2), Connected(0, 2), *got(2, *range(3, 10))],
        "twice, out of order",
    ),
    "hole": ([FRESH, *got(1, 2, *range(4, 10))], "a hole"),
    "hole after resuming": ([FRESH, *got(1, 2), Connected(1, 2), *got(*range(6, 10))], "a hole"),
    "hole at the end": ([FRESH, *got(*range(1, 9))], "a hole"),
    "hole behind a position": ([FRESH, Subscribed(3), *got(*range(5, 10))], "a hole"),
    "hole after resuming from a position": (
        [FRESH, Subscribed(3), Connected(1, 3), *got(*range(5, 10))],
        "a hole",
    ),
    "gap that comes too late": ([FRESH, *got(1, 2, 4), Gap(1, 4), *got(*range(5, 10))], "a hole"),
    "gap that ends too early": ([FRESH, *got(1, 2), Gap(None, 4), *got(*range(6, 10))], "a hole"),
    "gap that ends too early for a resume": (
        [FRESH, *got(1, 2), Gap(None, 4), Connected(1, 4), *got(*range(6, 10))],
        "a hole",
    ),
    "gap that goes back": (
        [FRESH, *got(1, 2, 3), Gap(None, 2), *got(*range(5, 10))],
        "is behind 3",
    ),
    "position that is too high": ([FRESH, Subscribed(5), *got(*range(5, 10))], "a wrong position"),
    "position that hides a loss": ([FRESH, *got(1, 2), Subscribed(4), *got(*range(5, 10))], "hole"),
    "position that hides a loss at the end": ([FRESH, *got(*range(1, 9)), Subscribed(9)], "hole"),
    "position that is too high after resuming": (
        [*RESUMED[:5], Subscribed(4), *got(4, 5, 6, 7, 8, 9)],
        "a hole",
    ),
    "position that goes back": (
        [FRESH, *got(1, 2, 3), Subscribed(2), *got(*range(4, 10))],
        "is behind 3",
    ),
    "position behind that of the gap": (
        [FRESH, *got(1), Connected(1, 1), Gap(None, 5), Subscribed(4), *got(*range(6, 10))],
        "is behind 5",
    ),
    "position that is told twice": (
        [FRESH, Subscribed(3), *got(4), Subscribed(4), *got(*range(5, 10))],
        "twice",
    ),
    "reordering": ([FRESH, *got(1, 3, 2, *range(4, 10))], "twice, out of order"),
    "false gap": ([FRESH, *got(1, 2), Gap(None, 2), *got(*range(3, 10))], "a false Gap"),
    "false gap before hidden notifications": (
        [FRESH, *got(1, 2), Gap(None, 5), *got(*range(3, 10))],
        "a false Gap",
    ),
    "false gap after a clean restart": (
        [*RESUMED[:5], Gap(None, 5), *RESUMED[5:]],
        "a false Gap",
    ),
    "false gap after a position": (
        [FRESH, Subscribed(3), Connected(1, 3), Gap(None, 3), *got(*range(4, 10))],
        "a false Gap",
    ),
    "gap that is told twice": (
        [
            *[FRESH, *got(1, 2), Connected(0, 2), Gap(None, 5), Connected(1, 5), Gap(None, 5)],
            *got(*range(6, 10)),
        ],
        "a false Gap",
    ),
    "false gap of a new client": ([FRESH, Gap(None, 5), *got(*range(1, 10))], "a false Gap"),
    "gap that is too large": ([FRESH, *got(1, 2), Gap(3, 4), *got(*range(5, 10))], "told of 3"),
    "gap that is too small": ([FRESH, *got(1, 2), Gap(1, 4), *got(*range(5, 10))], "told of 1"),
    "gap that is too small for a resume": (
        [FRESH, *got(1, 2), Gap(1, 4), Connected(0, 4), *got(*range(5, 10))],
        "told of 1",
    ),
    "notification that was never published": (
        [FRESH, *got(*range(1, 10)), Received(77, "other")],
        "never published",
    ),
    "notification with another id": (
        [FRESH, *got(*range(1, 9)), Received(10, "m9")],
        "whose id is 9",
    ),
    "resumed after another id": (
        [FRESH, *got(1, 2), Connected(0, 1), *got(*range(3, 10))],
        "resumed",
    ),
    "resumed from before its position": (
        [FRESH, *got(1, 2), Subscribed(3), Connected(0, 2), *got(*range(4, 10))],
        "resumed",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_run_passes(name: str) -> None:
    assert found(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_broken_promise_is_found(name: str) -> None:
    events, word = BAD[name]
    assert any(word in problem for problem in found(events))


def test_hole_after_crash_is_found() -> None:
    """A crash excuses a gap without a loss, but not a loss without a gap."""
    events: list[Event] = [FRESH, *got(1, 2), Connected(1, 2), *got(*range(6, 10))]
    assert found(events, unclean=(0,))


def test_gap_after_crash_covers_earlier_losses() -> None:
    """Recent notifications follow the gap; losses of the crash may lie behind them, too."""
    replayed: list[Event] = [FRESH, *got(1), Connected(1, 1), Gap(None, 5), *got(3, 4)]
    assert found([*replayed, *got(*range(6, 10))], unclean=(0,)) == []
    assert found([*replayed, Subscribed(5), *got(*range(6, 10))], unclean=(0,)) == []
    assert found([*replayed, *got(*range(6, 10))])
    assert found([*replayed, *got(*range(7, 10))], unclean=(0,))
    assert found([*replayed, *got(6, *range(8, 10))], unclean=(0,))
    silent = [each for each in replayed if not isinstance(each, Gap)]
    assert found([*silent, *got(*range(6, 10))], unclean=(0,))
    again: list[Event] = [*replayed, Connected(1, 4), *got(*range(6, 10))]
    assert found(again, unclean=(0,))


def test_gap_without_loss_needs_crash() -> None:
    """It is accepted until the client has received a notification newer than the crash."""
    gap = Gap(None, 5)
    after_crash: list[Event] = [*RESUMED[:5], gap, *RESUMED[5:]]
    assert found(after_crash, unclean=(0,)) == []
    again: list[Event] = [*RESUMED[:5], gap, *got(4), Connected(1, 4), gap, *RESUMED[6:]]
    assert found(again, unclean=(0,)) == []
    assert found(after_crash, unclean=(1,))
    later: list[Event] = [FRESH, *got(*range(1, 8)), Connected(1, 7), Gap(None, 7), *got(8, 9)]
    assert found(later, unclean=(0,))


def test_gap_after_position_needs_later_crash() -> None:
    """A position that the process itself has stated is good until that process crashes."""
    stated: list[Event] = [Connected(0, None, 2.0), *got(5), Subscribed(5)]
    gap: list[Event] = [Connected(1, 5), Gap(None, 5), *got(*range(6, 10))]
    assert found([*stated, *gap], unclean=(0,)) == []
    assert found([*stated, *gap])
    stated = [Connected(1, None, 2.0), *got(5), Subscribed(5)]
    assert found([*stated, *gap], unclean=(0,))


def test_gap_of_lost_stream_reaches_connected_clients() -> None:
    """The nodes go on, so the loss comes in the midst of a connection."""
    before: list[Event] = [FRESH, *got(1, 2, 3, 4, 5)]
    after = got(6, 7, 8, 9)
    assert found([*before, Gap(None, 5, generation=1), *after], unclean=(0,)) == []
    assert found([*before, Gap(None, 5, generation=1), *after])
    assert found([*before, Gap(None, 5), *after], unclean=(0,))
    # Told a second time, and after something new.
    late = [*before, *got(6), Gap(None, 6, generation=1), *got(7, 8, 9)]
    assert found(late, unclean=(0,))


def test_node_far_behind_may_report_a_gap() -> None:
    """If as many are missing as the stream retains, it may be one more: then it cannot tell."""

    def judged(limit: int, moment: float) -> list[str]:
        gap = Gap(None, 2, moment=moment)
        events: list[Event] = [FRESH, *got(1, 2), Connected(0, 2), gap, *got(*range(3, 10))]
        transcript = Transcript("client", "main", events, True)
        return problems(transcript, Truth(POSTS, [transcript], limit=limit))

    assert judged(limit=7, moment=1.5) == []
    assert judged(limit=8, moment=1.5), "seven follow the gap"
    assert judged(limit=7, moment=0.5), "it came before them"


UNKNOWN = Post("main", "m3", 0, 1.0, None)
WITH_UNKNOWN = [UNKNOWN if each.id == 3 else each for each in POSTS]


def test_unanswered_post_without_witness_is_optional() -> None:
    assert found([FRESH, *got(1, 2, *range(4, 10))], posts=WITH_UNKNOWN) == []
    warned: list[Event] = [FRESH, *got(1, 2), Connected(0, 2), Gap(None, 3), *got(*range(4, 10))]
    assert found(warned, posts=WITH_UNKNOWN) == []


def test_unanswered_post_with_witness_is_required() -> None:
    """One client that received it proves that it was published."""
    other = Transcript("other", "main", [FRESH, *got(3)])
    assert found([FRESH, *got(1, 2, *range(4, 10))], posts=WITH_UNKNOWN, others=(other,))


def test_new_client_gets_later_posts() -> None:
    """A post before the connection may be missing; one after it may not."""
    assert found([Connected(0, None, 2.0), *got(*range(4, 10))]) == []
    assert found([Connected(0, None, 0.5), *got(*range(4, 10))])


def test_recents_may_lack_crash_losses() -> None:
    """Recent notifications of a new client have holes only where a process crashed."""
    events: list[Event] = [Connected(1, None, 2.0), *got(3, 6, 7, 8, 9)]
    assert found(events)
    assert found(events, unclean=(0,)) == []
    assert found([Connected(1, None, 2.0), *got(6, 8, 9)], unclean=(0,))


def test_early_leaver_misses_nothing() -> None:
    assert found([FRESH, *got(1, 2)], to_the_end=False) == []


def test_other_topics_are_ignored() -> None:
    elsewhere = Post("other", "m2x", 0, 1.0, 2)
    events: list[Event] = [FRESH, *got(1, 3, *range(4, 10))]
    posts = [elsewhere if each.id == 2 else each for each in POSTS]
    assert found(events, posts=posts) == []
