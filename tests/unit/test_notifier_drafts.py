"""Publishing many notifications at once, and notifications with fields."""

import asyncio

import pytest

from aionotify.errors import MessageTooBig
from aionotify.fields import Fields
from tests.support.waiting import eventually
from tests.unit.test_notifier import Parts


@pytest.fixture
def parts() -> Parts:
    """A notifier without memcached, for messages of 20 bytes."""
    return Parts()


async def test_many_are_published_although_cancelled(parts: Parts) -> None:
    """All or none, and with turns of the event loop for other work in between."""
    drafts = [parts.notifier.draft(f"{number}", f"t{number % 7}") for number in range(1000)]
    publishing = asyncio.create_task(parts.notifier.publish_all(drafts))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < parts.hub.stats.published <= 200
    publishing.cancel()
    await eventually(lambda: parts.hub.stats.published == 1000)
    assert publishing.cancelled()


async def test_fields_count_towards_the_limit(parts: Parts) -> None:
    fields = Fields(b',"title":"12345"', 5)
    draft = parts.notifier.draft("x" * 15, fields=fields)
    assert (draft.size, draft.fields) == (15 + len(fields.encoded), fields.encoded)
    message = r"^The message and its fields have 21 bytes; the limit is 20\.$"
    with pytest.raises(MessageTooBig, match=message):
        parts.notifier.draft("x" * 16, fields=fields)
