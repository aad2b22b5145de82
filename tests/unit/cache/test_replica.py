"""The state of one topic's copy: who waits for what, and what a round takes with it."""

from aionotify.cache.format import MAX_VALUE
from aionotify.cache.replica import Replica
from tests.support.builders import new_topic
from tests.support.loop import HandLoop


def dirty(id: int = 5) -> Replica:
    """Return a replica with something unsaved."""
    replica = Replica(new_topic(), 0)
    replica.first_unsaved = id
    return replica


def test_clean_replica_has_nothing_to_wait_for(loop: HandLoop) -> None:
    assert Replica(new_topic(), 0).wait_stored() is None


def test_waiting_ends_with_the_job(loop: HandLoop) -> None:
    """Also waiting that began while the round was under way: it stores all that was unsaved."""
    replica = dirty()
    before = replica.wait_stored()
    job = replica.take()
    during = replica.wait_stored()
    assert before is not None
    assert during is not None
    assert not before.done()
    assert not during.done()
    job.finish()
    assert before.result()
    assert during.result()
    assert replica.wait_stored() is None


def test_later_notification_waits_for_the_next_job(loop: HandLoop) -> None:
    replica = dirty(5)
    job = replica.take()
    replica.first_unsaved = 9
    later = replica.wait_stored()
    job.finish()
    assert later is not None
    assert not later.done()
    replica.take().finish()
    assert later.result()


def test_job_that_only_reads_stores_nothing(loop: HandLoop) -> None:
    replica = Replica(new_topic(), 0)
    replica.read = loop.create_future()
    job = replica.take()
    assert job.first_unsaved == 0
    assert replica.wait_stored() is None
    job.finish_read(True)
    job.finish()
    assert replica.job is None


def test_put_back_keeps_the_oldest_and_all_waiters(loop: HandLoop) -> None:
    replica = dirty(5)
    before = replica.wait_stored()
    job = replica.take()
    replica.first_unsaved = 9
    after = replica.wait_stored()
    replica.put_back(job)
    replica.put_back(replica.take())
    assert replica.first_unsaved == 5
    assert replica.waiters == [before, after]
    assert replica.job is None


def test_release_is_no_success(loop: HandLoop) -> None:
    replica = dirty()
    stored = replica.wait_stored()
    read = replica.read = loop.create_future()
    replica.release()
    assert stored is not None
    assert (stored.result(), read.result()) == (False, False)
    assert replica.first_unsaved == 5, "it remains to be done"
    assert not replica.waiters
    assert replica.read is None


def test_cancelled_waiter_is_skipped(loop: HandLoop) -> None:
    replica = dirty()
    first, second = replica.wait_stored(), replica.wait_stored()
    assert first is not None
    assert second is not None
    first.cancel()
    replica.take().finish()
    assert first.cancelled()
    assert second.result()


def test_refusals_are_forgotten() -> None:
    replica = dirty()
    replica.max_bytes, replica.refused = 10, frozenset({1})
    replica.forget_refusals()
    assert (replica.max_bytes, replica.refused) == (MAX_VALUE, frozenset())
