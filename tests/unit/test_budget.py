"""The memory of all histories together."""

from aionotify.budget import ENTRY_OVERHEAD, Budget
from aionotify.history import History
from aionotify.ids import IdSource
from aionotify.notification import Notification
from aionotify.recents import Recent
from tests.support.builders import NOW, append


def stored(*ids: int) -> list[Recent]:
    """Return notifications whose messages are their ids."""
    return [Recent(id, Notification(id, 0, str(id))) for id in ids]


def test_budget_counts_all_histories() -> None:
    budget, ids = Budget(1000), IdSource()
    one, two = History(2, budget=budget), History(9, budget=budget)
    for _ in range(3):
        append(one, "xx", ids)
    two.learn(stored(5, 6, 7), 5, 0)
    append(two, "yyy", ids)
    two.learn(stored(3), 5, 0)
    assert budget.used == 2 * 2 + 3 + 3 + 1 + ENTRY_OVERHEAD * 7
    two.expire(1)
    assert budget.used == 2 * 2 + 3 + ENTRY_OVERHEAD * 3
    for history in (one, two):
        history.expire(NOW * 1000 + 1)
    assert budget.used == 0
