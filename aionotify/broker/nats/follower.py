"""Follows the stream: takes the messages that JetStream republishes, and fetches missing ones."""

import asyncio
import contextlib
import logging
from collections import deque
from typing import Protocol

from nats.aio.msg import Msg

from aionotify.broker.nats.progress import Progress, Step
from aionotify.broker.nats.remote import Batch, Remote
from aionotify.broker.nats.stream import Info, Message
from aionotify.broker.nats.waiters import Waiters
from aionotify.errors import BrokerError
from aionotify.stats import ClusterStats

logger = logging.getLogger(__name__)

SILENCE = 0.5
"""Seconds without a message after which the leader is asked for the state of the stream."""

CURRENT_FOR = 3.0
"""Seconds after the last proof for which nothing is believed to be missing.

Silence, an answer that takes its time, and one that is lost fit into it.
"""

MAX_QUEUED, MAX_QUEUED_BYTES = 10_000, 32 * 1024 * 1024
"""Live messages that wait, and their bytes. Further ones are fetched later."""

LAGGING_PAUSE = 0.05
MAX_LAGGING = 20
"""Seconds between two questions to replicas that lag, and how many before the leader is asked."""


class Delivery(Protocol):
    """The receiver of the messages and holes that the follower finds."""

    def begin(self, info: Info, complete_since: int) -> None:
        """Note from which number on nothing is missing; called before the first message."""

    def fetched(self, batch: Batch) -> None:
        """Note that these messages were fetched, and will be delivered next."""

    async def deliver(self, message: Message) -> None:
        """Deliver a message, in the order of the numbers."""

    async def lost(self, upto: int) -> None:
        """Note that messages up to a number are missing that were in the stream meanwhile.

        None of these is delivered anymore: subscribers are told.
        """

    async def filled(self, *, current: bool) -> None:
        """Note that everything up to some moment was delivered.

        `current` means that the leader has said so: up to the moment of its answer.
        """

    def restart(self, complete_since: int) -> None:
        """Note that everything before is from another stream."""


class Follower:
    """Delivers every message of the stream once, in order.

    A single task moves through the stream, so that nothing overtakes anything.
    """

    def __init__(self, remote: Remote, delivery: Delivery, stats: ClusterStats) -> None:
        self._remote = remote
        self._delivery = delivery
        self._stats = stats
        self._progress = Progress()
        self._live: deque[Msg] = deque()
        self._live_bytes = 0
        self._news = asyncio.Event()
        self._asked = False
        self._same_stream = False
        """Whether the leader has said, during this fill, that the stream is still the same."""
        self._confirmed = float("-inf")
        self._waiters = Waiters()
        self._askers: list[asyncio.Future[None]] = []
        self.problem = ""
        """Why the stream cannot be followed, or an empty text."""
        self.ready = asyncio.Event()
        """Set when everything that the stream had at some moment was delivered."""

    @property
    def last(self) -> int:
        """The number up to which everything was delivered."""
        return self._progress.last

    @property
    def started(self) -> bool:
        """Whether the node has ever been current: then it can serve clients."""
        return self.ready.is_set()

    @property
    def current(self) -> bool:
        """Whether nothing was missing a moment ago."""
        return asyncio.get_running_loop().time() - self._confirmed < CURRENT_FOR

    def on_live(self, msg: Msg) -> None:
        """Queue a message that JetStream has republished."""
        if len(self._live) < MAX_QUEUED and self._live_bytes < MAX_QUEUED_BYTES:
            self._live.append(msg)
            self._live_bytes += len(msg.data)
            self._news.set()

    def ask(self) -> None:
        """Have the leader asked at once: the connection is new."""
        self._asked = True
        self._news.set()

    async def reach(self, seq: int) -> None:
        """Wait until everything up to the number `seq` was delivered."""
        if self._progress.last < seq:
            await self._waiters.reach(seq)

    async def reach_leader(self) -> None:
        """Wait until everything was delivered that the leader has at the moment."""
        future = asyncio.get_running_loop().create_future()
        self._askers.append(future)
        self.ask()
        await future

    async def run(self) -> None:
        """Follow the stream, forever."""
        while True:
            try:
                await self._step()
            except BrokerError as error:
                # Ask again, even if there is no silence: under steady traffic, a node that was
                # started without a leader would never begin.
                self._asked = True
                self.problem = str(error)
                await self._is_news(SILENCE / 2)
            except Exception as error:
                # Nothing may end this task: the node would be deaf, and look well.
                self.problem = repr(error)
                logger.exception("following the stream failed, and is tried again")
                await self._is_news(SILENCE)
            finally:
                self._note_lag()

    def _note_lag(self) -> None:
        self._stats.lag = self._progress.newest - self._progress.last

    async def _step(self) -> None:
        if self._live and self._progress.created and not self._asked:
            msg = self._live.popleft()
            self._live_bytes -= len(msg.data)
            await self._on_message(self._remote.read(msg))
        elif self._asked or not await self._is_news(SILENCE):
            self._asked = False
            await self._ask()

    async def _is_news(self, seconds: float) -> bool:
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        return self._news.is_set()

    async def _on_message(self, message: Message) -> None:
        step = self._progress.on_live(message.place)
        if step is Step.TAKE:
            await self._take(message)
            self._confirmed = asyncio.get_running_loop().time()
        elif step is Step.FILL:
            await self._fill(message.place.seq)
        elif step is Step.WENT_BACK:
            await self._restart(await self._remote.info())

    async def _ask(self) -> None:
        # Requests that arrive from now on have to wait for the next answer.
        askers, self._askers = self._askers, []
        try:
            if await self._follow_leader():
                for each in askers:
                    if not each.done():
                        each.set_result(None)
        finally:
            self._askers += [each for each in askers if not each.done()]

    async def _follow_leader(self) -> bool:
        """Fetch everything that the leader has. Return whether its answer could be believed."""
        asked_at = self._progress.last
        info = await self._remote.info()
        self.problem = ""
        if not self._progress.created:
            self._progress.begin(info.created, info.first_seq - 1)
            self._delivery.begin(info, info.first_seq - 1)
        step = self._progress.on_info(info, asked_at)
        if step is Step.FILL:
            await self._fill(info.last_seq)
        elif step is Step.WENT_BACK:
            await self._restart(info)
        elif step is Step.CURRENT:
            await self._confirm(current=True)
        return step is not Step.IGNORE

    async def _fill(self, target: int) -> None:
        """Fetch everything up to the number `target`."""
        self._stats.fills += self.started
        self._same_stream = False
        lagging = 0
        while self._progress.last < target:
            self._note_lag()
            before = self._progress.last
            batch = await self._remote.batch(before)
            self._delivery.fetched(batch)
            for message in batch.messages:
                if not await self._on_fetched(message):
                    return
            lagging = 0 if self._progress.last > before else lagging + 1
            if lagging == MAX_LAGGING:
                lagging = 0
                if not await self._skip_deleted(target):
                    return
            elif lagging:
                await asyncio.sleep(LAGGING_PAUSE)
        await self._confirm(current=False)

    async def _on_fetched(self, message: Message) -> bool:
        """Deliver a message that was fetched; return whether the rest is worth reading."""
        step = self._progress.on_fetched(message.place)
        if step is Step.WENT_BACK:
            await self._restart(await self._remote.info())
            return False
        if step is Step.TAKE:
            if message.place.seq > self._progress.last + 1:
                # Removed by the limits of the stream, or it is another one with higher numbers.
                # Without this, steady traffic would carry the node into a new stream unnoticed:
                # the leader is asked in silence only.
                if not self._same_stream:
                    info = await self._remote.info()
                    if info.created != self._progress.created:
                        await self._restart(info)
                        return False
                    self._same_stream = True
                await self._delivery.lost(message.place.seq - 1)
                # Another replica may still have them, but subscribers have been told.
                self._skip_to(message.place.seq - 1)
            await self._take(message)
        return True

    async def _skip_deleted(self, target: int) -> bool:
        """Pass over numbers at the end of the stream whose messages were removed.

        Returns whether the stream has the number `target` at all.
        """
        info = await self._remote.info()
        last = self._progress.last
        missing = range(last + 1, min(target, info.last_seq) + 1)
        if missing and (not info.messages or {*missing} <= {*await self._remote.deleted()}):
            # The leader has this hole, and not the messages that a replica has sent.
            self._delivery.fetched(Batch([], False))
            await self._delivery.lost(missing[-1])
            self._skip_to(missing[-1])
        return info.last_seq >= target

    async def _restart(self, info: Info) -> None:
        """Begin anew behind the last message that was delivered, by its time."""
        first = await self._remote.after_time(self._progress.last_time)
        complete_since = info.last_seq if first is None else first - 1
        self._stats.went_back += 1
        self._progress.begin(info.created, complete_since)
        self._delivery.restart(complete_since)
        self._waiters.release(self._progress.last)
        self._asked = True  # for what the new stream has already
        logger.warning(
            "the stream was deleted or is an older copy: clients get a gap, and continue at id %d",
            complete_since,
        )

    async def _take(self, message: Message) -> None:
        await self._delivery.deliver(message)
        self._progress.take(message.place)
        self._waiters.release(self._progress.last)

    def _skip_to(self, seq: int) -> None:
        self._progress.skip_to(seq)
        self._waiters.release(self._progress.last)

    async def _confirm(self, *, current: bool) -> None:
        await self._delivery.filled(current=current)
        self.ready.set()
        self._confirmed = asyncio.get_running_loop().time()
