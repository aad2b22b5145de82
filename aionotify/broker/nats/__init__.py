"""The broker of several nodes: one JetStream stream numbers and keeps all notifications."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Sequence

from nats.aio.msg import Msg

from aionotify.broker.nats.connection import Connection
from aionotify.broker.nats.delivery import HubDelivery
from aionotify.broker.nats.follower import Follower
from aionotify.broker.nats.publisher import DEADLINE, Publisher, Unsure
from aionotify.broker.nats.remote import Remote
from aionotify.broker.nats.stream import Stream
from aionotify.errors import Unavailable
from aionotify.hub import Hub
from aionotify.notification import Draft, Notification
from aionotify.settings import Settings
from aionotify.stats import ClusterStats, RejectReason
from aionotify.topic import Topic

logger = logging.getLogger(__name__)

START_TIMEOUT = 3.0
"""Seconds that connecting and reading the stream may take before the node listens all the same."""

REACH_TIMEOUT = 2.0
"""Seconds that a client waits for an id that this node has not seen yet.

Then the leader is asked if it exists.
"""

WATCH_INTERVAL = 0.1
"""Seconds between two looks at whether the node is current."""


class NatsBroker:
    """Publishes to a stream, and follows it: so every node has the same notifications and ids."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self.stats = ClusterStats()
        self._hub = hub
        self._stream = Stream(settings.nats_stream, settings.max_message_bytes)
        self._connection = Connection(
            settings,
            {
                self._stream.live_subject: lambda msg: self._follower.on_live(msg),
                self._stream.leader_subject: self._on_leader,
            },
            lambda: self._follower.ask(),
        )
        self._remote = Remote(self._connection, self._stream, settings)
        self._publisher = Publisher(self._connection, self._stream, self.stats)
        self._delivery = HubDelivery(hub, self._stream, self._remote, self._publisher)
        self._follower = Follower(self._remote, self._delivery, self.stats)
        self._tasks: list[asyncio.Task[None]] = []
        self._was_current = False

    @property
    def connected(self) -> bool:
        """Whether it is connected to NATS, and has everything that is in the stream."""
        return self._connection.connected and self._follower.current

    @property
    def lag(self) -> int:
        """Notifications in the stream that have not arrived, as far as is known."""
        return self.stats.lag

    async def start(self) -> None:
        """Connect and read the stream. Takes 3 s at most; then that goes on in the background."""
        self._connection.start()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._follower.run())]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT):
                await self._follower.ready.wait()
        self._tasks.append(loop.create_task(self._watch()))
        if self.connected:
            self._on_current()
        else:
            logger.warning(
                "NATS is unavailable (%s): nothing can be read or published until it is found, "
                "retrying in the background",
                self._reason,
            )

    async def stop(self) -> None:
        """Disconnect. Everything that was published is stored."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._connection.stop()

    async def publish(self, drafts: Sequence[Draft], *, wait_stored: bool) -> list[Notification]:
        """Publish `drafts`, always stored: only the stream gives a notification its place.

        With nats-server 2.12 or newer, all of up to 1,000 are stored, or none.
        """
        self._ensure_started()
        unsure, started = Unsure(), time.monotonic()
        keys = [draft.key or secrets.token_urlsafe(16) for draft in drafts]
        attempts = list(zip(drafts, keys, strict=True))
        try:
            with self._delivery.expecting(keys):
                async with asyncio.timeout(DEADLINE):
                    places = await self._publisher.store(attempts, unsure)
                    # The fan-out has its turn first: making the response takes longer.
                    await asyncio.sleep(0)
                    await self._follower.reach(max(places))
                published = [
                    self._delivery.published(draft, key, seq)
                    for (draft, key), seq in zip(attempts, places, strict=True)
                ]
        except (TimeoutError, Unavailable):
            self.stats.unavailable += 1
            # For example a full disk, which shows nowhere else.
            line = f"cannot publish ({unsure.refusal})"
            self._hub.stats.incidents.report("publish", line, lines=1)
            raise unsure.error() from None
        self.stats.publish_seconds.observe(time.monotonic() - started)
        return published

    async def refresh(self, name: str) -> None:
        """Find out whether the topic has lost notifications, if that is open.

        Raises Unavailable if the node could never follow the stream.
        """
        self._ensure_started()
        await self._delivery.refresh(name)

    async def reach(self, id: int) -> None:
        """Wait for the notification `id`, which another node may have sent.

        Raises Unavailable if it is not known whether it exists: the client would go back to what
        this node has, and get notifications again.
        """
        if not self._follower.started or id <= self._follower.last:
            return
        try:
            async with asyncio.timeout(DEADLINE):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REACH_TIMEOUT):
                        await self._follower.reach(id)
                        return
                await self._follower.reach_leader()
        except TimeoutError:
            raise Unavailable(
                "This node is behind its cluster. Please try again later.", RejectReason.NATS
            ) from None

    def open(self, name: str) -> Topic:
        """Return the topic `name`, which is created if needed."""
        return self._delivery.open(name)

    def _ensure_started(self) -> None:
        if not self._follower.started:
            raise Unavailable(
                "This node has not reached its cluster yet. Please try again later.",
                RejectReason.NATS,
            )

    @property
    def _reason(self) -> str:
        return self._follower.problem if self._connection.connected else self._connection.reason

    def _on_leader(self, _: Msg) -> None:
        """Send requests that the leader before has not answered to the new one."""
        self._connection.give_up(f"{self._stream.name}.", "$JS.API.STREAM.")

    def _on_current(self) -> None:
        self.stats.connected = True
        word = "reconnected" if self._was_current else "connected"
        logger.info("%s to NATS at %s", word, self._connection.server)
        self._was_current = True

    async def _watch(self) -> None:
        """Log each time that the node becomes current, or is not anymore."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            if self.connected == self.stats.connected:
                continue
            if self.connected:
                self._on_current()
            else:
                self.stats.connected = False
                logger.warning(
                    "lost NATS (%s): clients are served from memory, publishing waits; retrying "
                    "in the background",
                    self._reason or "the stream has no leader",
                )
