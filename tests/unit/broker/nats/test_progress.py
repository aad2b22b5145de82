"""Following the stream, against a model: late, lost, doubled and reordered messages."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aionotify.broker.nats.progress import MAX_BELOW, Progress, Step
from aionotify.broker.nats.stream import Info, Place


def info(created: str, last: int) -> Info:
    """Return the state of a stream that begins at 1."""
    return Info(created, 1, last, last, {})


def begun(last: int = 10) -> Progress:
    """Return the progress of a node that has everything up to `last`."""
    progress = Progress()
    progress.begin("then", last - 1)
    progress.take(Place(last, last * 100))
    return progress


def test_next_message_is_taken() -> None:
    assert begun().on_live(Place(11, 1100)) is Step.TAKE


def test_known_message_is_ignored() -> None:
    assert begun().on_live(Place(9, 900)) is Step.IGNORE


def test_message_beyond_the_next_is_filled() -> None:
    progress = begun()
    assert progress.on_live(Place(13, 1300)) is Step.FILL
    assert progress.newest == 13


def test_reused_number_means_that_it_went_back() -> None:
    assert begun().on_live(Place(9, 1001)) is Step.WENT_BACK
    assert begun().on_fetched(Place(10, 1001)) is Step.WENT_BACK


def test_number_that_was_passed_over_proves_nothing() -> None:
    """It may be any time old: removed by the limits, or from before the node began."""
    progress = begun()
    progress.skip_to(15)
    assert progress.on_live(Place(12, 1200)) is Step.IGNORE
    fresh = Progress()
    fresh.begin("then", 10)
    assert fresh.on_live(Place(9, 900)) is Step.IGNORE


def test_created_again_means_that_it_went_back() -> None:
    assert begun().on_info(info("now", 12), 10) is Step.WENT_BACK


def test_answer_that_was_overtaken_proves_nothing() -> None:
    """Live messages arrive before it, so it ends below what was delivered meanwhile."""
    progress = begun()
    assert progress.on_info(info("then", 9), 9) is Step.CURRENT


def test_only_several_short_answers_mean_that_it_went_back() -> None:
    progress = begun()
    steps = [progress.on_info(info("then", 9), 10) for _ in range(MAX_BELOW)]
    assert steps == [Step.IGNORE] * (MAX_BELOW - 1) + [Step.WENT_BACK]


def test_short_answers_count_in_a_row() -> None:
    progress = begun()
    for _ in range(MAX_BELOW * 2):
        assert progress.on_info(info("then", 9), 10) is Step.IGNORE
        assert progress.on_info(info("then", 10), 10) is Step.CURRENT


class Following(RuleBasedStateMachine):
    """A stream, a network that mixes up its messages, and a node that follows it.

    The node fetches when it is told to. It delivers each message of a stream once and in order;
    a message is missing only if the stream was replaced, and then the node knows.
    """

    @initialize()
    def start(self) -> None:
        self.clock, self.copies, self.restarts = 100, 1, 0
        self.messages: list[Place] = []
        self.network: list[Place] = []
        self.answers: list[tuple[Info, int]] = []
        self.delivered: list[Place] = []
        self.progress = Progress()
        self.progress.begin("1", 0)

    def last(self) -> int:
        return self.messages[-1].seq if self.messages else self.first - 1

    first = 1

    @rule()
    def publish(self) -> None:
        self.clock += 1
        self.messages.append(Place(self.last() + 1, self.clock))
        self.network.append(self.messages[-1])

    @precondition(lambda self: self.network)
    @rule(at=st.integers(0, 1000), lost=st.booleans(), again=st.booleans())
    def arrive(self, at: int, lost: bool, again: bool) -> None:
        place = self.network[at % len(self.network)]
        if not again:
            self.network.remove(place)
        if not lost:
            self.follow(self.progress.on_live(place), place)

    @rule()
    def ask(self) -> None:
        self.answers.append((info(str(self.copies), self.last()), self.progress.last))

    @precondition(lambda self: self.answers)
    @rule()
    def answer(self) -> None:
        found, asked_at = self.answers.pop(0)
        # An answer about a stream that is gone does not come: the node waits for one at a time.
        if found.created == str(self.copies):
            self.follow(self.progress.on_info(found, asked_at), None)

    @rule(ids_rise=st.just(True))
    def replace(self, ids_rise: bool) -> None:
        """Somebody deletes the stream; it is created anew, with higher numbers."""
        self.clock += 1
        self.first = self.last() + 1000
        self.messages, self.answers, self.copies = [], [], self.copies + 1

    def follow(self, step: Step, place: Place | None) -> None:
        if step is Step.TAKE and place is not None and place in self.messages:
            self.take(place)
        elif step is Step.FILL:
            self.fetch()
        elif step is Step.WENT_BACK:
            newer = [each for each in self.messages if each.time > self.progress.last_time]
            behind = newer[0].seq - 1 if newer else self.last()
            self.progress.begin(str(self.copies), behind)
            self.restarts += 1
            self.fetch()

    def fetch(self) -> None:
        for place in [each for each in self.messages if each.seq >= self.progress.last]:
            step = self.progress.on_fetched(place)
            assert step is not Step.WENT_BACK
            if step is Step.TAKE:
                self.take(place)

    def take(self, place: Place) -> None:
        self.delivered.append(place)
        self.progress.take(place)

    @invariant()
    def delivers_in_order_and_once(self) -> None:
        if hasattr(self, "delivered"):
            assert self.delivered == sorted(set(self.delivered))

    def teardown(self) -> None:
        """One more question brings the node up to date."""
        if hasattr(self, "progress"):
            self.answers = []
            self.ask()
            self.answer()
            assert self.progress.last == self.last()
            assert not self.messages or self.delivered[-len(self.messages) :] == self.messages


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
