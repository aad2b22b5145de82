"""What servers on one memcached leave for each other: the clean-shutdown marker, and their name."""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping

from aionotify.cache.format import (
    MARKER,
    MAX_PARTS,
    PRESENCE,
    Legacy,
    decode_last_ids,
    decode_marker,
    encode_last_ids,
    encode_marker,
    part_key,
)
from aionotify.cache.memcached import Memcached
from aionotify.errors import CacheError

logger = logging.getLogger(__name__)

MARKER_TTL = 300
"""Seconds after a clean stop within which the next server relies on its marker.

The marker says that nothing was published since. A server that ran in between without reaching
this memcached could not have removed it, so it must not be believed forever.
"""

PRESENCE_TTL = 10
"""Seconds after which a server that does not check memcached anymore counts as gone."""

NOTICE_DELAY = 2.0
"""Seconds for which a server may be there, or still be there, without being noticed."""


class Presence:
    """Notices other servers on the same memcached, by the name that each leaves there."""

    def __init__(self) -> None:
        self.other_seen_at = 0.0
        """When another server was last noticed (seconds since the epoch), or 0."""
        self._name = secrets.token_hex(8).encode()
        self._present = False

    @property
    def uncertain_before(self) -> int:
        """The id before which another server may have published without our notice, or 0."""
        seen_at = self.other_seen_at and self.other_seen_at + NOTICE_DELAY
        return int(min(seen_at, time.time()) * 1_000_000)

    async def check(self, memcached: Memcached) -> None:
        """Check that memcached answers, remove a clean-shutdown marker, notice other servers.

        Another server on this memcached leaves a marker when it stops. It must not stay: the next
        server would take it for a promise about the topics that are published to here.
        Raises CacheError.
        """
        entries = await memcached.get([MARKER, PRESENCE])
        if MARKER in entries:
            await memcached.delete(MARKER)
        last = entries.get(PRESENCE)
        if self._present and last is not None and last.value != self._name:
            self.other_seen_at = time.time()
        await memcached.set(PRESENCE, self._name, PRESENCE_TTL)
        self._present = True  # the first name that was found may be that of a server that crashed


async def take_legacy(memcached: Memcached, deadline: float) -> Legacy | None:
    """Return and remove what a server that stopped cleanly has left, or None.

    Raises CacheError, also if it takes until `deadline` (time of the event loop).
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await _take_legacy(memcached)
    except TimeoutError:
        raise CacheError("reading the clean-shutdown marker took too long") from None


async def _take_legacy(memcached: Memcached) -> Legacy | None:
    marker = (await memcached.get([MARKER])).get(MARKER)
    if marker is None:
        return None
    # First of all: if this process crashes from here on, the next one must not rely on it.
    await memcached.delete(MARKER)
    now = time.time()
    try:
        before, parts = decode_marker(marker.value, now)
        last_ids: dict[str, int] = {}
        for number in range(parts):
            entry = (await memcached.get([part_key(number)])).get(part_key(number))
            if entry is None:
                raise ValueError(f"part {number} is missing")
            last_ids |= decode_last_ids(entry.value, now)
    except ValueError as error:
        logger.warning("ignoring the clean-shutdown marker in memcached: %s", error)
        return None
    return Legacy(before, last_ids)


async def leave_legacy(memcached: Memcached, before: int, last_ids: Mapping[str, int]) -> None:
    """Leave the marker, after everything that it promises. Raises CacheError."""
    parts = list(encode_last_ids(last_ids))
    if len(parts) > MAX_PARTS:
        raise CacheError(f"the last ids of {len(last_ids)} topics are too many")
    for number, value in enumerate(parts):
        await memcached.set(part_key(number), value, MARKER_TTL)
    await memcached.delete(PRESENCE)  # the next server would take it for another one beside it
    await memcached.set(MARKER, encode_marker(before, len(parts)), MARKER_TTL)
