"""The waits between attempts to connect, on a clock that is turned by hand."""

from hypothesis import given
from hypothesis import strategies as st

from aionotify.client.backoff import FIRST_WAIT, MAX_WAIT, Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def longest(_: float, high: float) -> float:
    """Stand in for `random.uniform` with the upper bound."""
    return high


def connection(backoff: Backoff, clock: Clock, seconds: float) -> float:
    """Let a connection last for `seconds`, and return the wait after its end."""
    backoff.connected()
    clock.now += seconds
    return backoff.next()


def test_waits_double_up_to_the_limit() -> None:
    backoff = Backoff(Clock(), longest)
    assert [backoff.next() for _ in range(7)] == [0.5, 1, 2, 4, 8, 15, 15]


def test_wait_stays_at_the_limit_for_ever() -> None:
    """2.0 to the power of 1,100 overflows; that many attempts take less than five hours."""
    backoff = Backoff(Clock(), longest)
    assert [backoff.next() for _ in range(5000)][-1] == MAX_WAIT


def test_wait_is_random_in_its_upper_half() -> None:
    bounds = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    backoff = Backoff(Clock(), uniform)
    assert [backoff.next(), backoff.next()] == [0.25, 0.5]
    assert bounds == [(0.25, 0.5), (0.5, 1)]


def test_lasting_connection_starts_over() -> None:
    clock = Clock()
    backoff = Backoff(clock, longest)
    assert [backoff.next() for _ in range(4)] == [0.5, 1, 2, 4]
    assert connection(backoff, clock, 8.1) == FIRST_WAIT
    assert backoff.next() == 1


def test_short_connection_does_not_start_over() -> None:
    """A server that accepts connections and ends them at once is not hammered."""
    clock = Clock()
    backoff = Backoff(clock, longest)
    assert [connection(backoff, clock, 0.1) for _ in range(4)] == [0.5, 1, 2, 4]


def test_failed_attempt_does_not_count_as_lasting() -> None:
    """The time since the last connection is not the time for which a connection lasted."""
    clock = Clock()
    backoff = Backoff(clock, longest)
    assert connection(backoff, clock, 3600) == 0.5
    clock.now += 3600
    assert backoff.next() == 1


@given(st.lists(st.none() | st.floats(0, 100), max_size=50))
def test_any_history_is_waited_out_in_bounds(lasted: list[float | None]) -> None:
    """Whatever connections did, a wait is neither too short nor too long."""
    clock = Clock()
    backoff = Backoff(clock)
    for seconds in lasted:
        wait = backoff.next() if seconds is None else connection(backoff, clock, seconds)
        assert FIRST_WAIT / 2 <= wait <= MAX_WAIT
