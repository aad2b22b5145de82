"""Clients that resume from far back, beside a client that is up to date."""

import asyncio
import time

from tests.support import eventually, running_server
from tests.support.client import publish
from tests.support.environment import without_memcached
from tests.support.heap import frozen_heap
from tests.support.raw_client import RawClient, server_frame
from tests.support.replayer import replaying

MESSAGES, SIZE = 279, 60_000
"""What the topic retains: 16 MiB, the most that one topic can."""

CLIENTS = 8
"""Clients that replay all of it in a loop."""

RATE, COUNT = 100, 300
"""Live notifications per second, and all of them."""

MAX_DELAY = 0.05
"""Seconds from publishing to delivery, for 99 of 100 notifications."""


class LiveClient(RawClient):
    """Notes when each live notification arrived."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.arrived: list[float] = []

    def data_received(self, data: bytes) -> None:
        """Note the time for each notification in `data`."""
        super().data_received(data)
        count = self.received.count(b"[Notification] ")
        self.arrived += [time.monotonic()] * (count - len(self.arrived))


async def test_replay_delays_no_live_delivery() -> None:
    """A live client gets everything at once, whatever others replay."""
    async with running_server(without_memcached()) as server:
        since, *_ = await publish(server.url, "first", *["x" * SIZE] * MESSAGES)
        await publish(server.url, *"abcde")
        recents = b"".join(server_frame(f"[Recent] {each}") for each in "abcde")
        live = await LiveClient.connect(server.port)
        admin = await RawClient.connect(server.port, "/ws?client=admin")
        await eventually(lambda: live.received == admin.received == recents)
        sent: list[float] = []
        with frozen_heap():
            async with replaying(server.port, since, CLIENTS) as replays:
                start = time.monotonic()
                for number in range(COUNT):
                    await asyncio.sleep(max(0, start + number / RATE - time.monotonic()))
                    sent.append(time.monotonic())
                    admin.send(f"{number}")
                await eventually(lambda: len(live.arrived) == COUNT)
        frames = (server_frame(f"[Notification] {number}") for number in range(COUNT))
        assert live.received == recents + b"".join(frames)
        delays = sorted(later - earlier for earlier, later in zip(sent, live.arrived, strict=True))
        assert delays[COUNT * 99 // 100] < MAX_DELAY, f"the slowest took {delays[-5:]} s"
        assert replays[0] > 2 * MESSAGES * SIZE, "too little was replayed to prove anything"
