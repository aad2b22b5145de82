"""The inbox: order, turns, throttling, and what ends the connection."""

import asyncio

from aionotify.inbox import Inbox


class Input:
    """What a client has sent, in turns, and how much of our replies it has yet to read."""

    def __init__(self, *turns: list[str], ending: bytes | None = None) -> None:
        self.turns = list(turns)
        self.ending = ending
        self.received: list[str] = []
        self.throttled = False
        self.inbox = Inbox(self.receive, lambda: self.throttled)

    async def receive(self, text: str) -> None:
        self.received.append(text)

    def read_more(self, inbox: Inbox) -> bool:
        if self.turns:
            inbox.messages.extend(self.turns.pop(0))
        if not self.turns:
            inbox.ending = self.ending
        return bool(self.turns)


async def test_messages_are_received_in_order() -> None:
    """Also those that arrive while earlier ones are processed."""
    client = Input(["c"], [], ["d", "e"])
    client.inbox.messages.extend("ab")
    await client.inbox.process(client.read_more)
    assert client.received == list("abcde")


async def test_ending_comes_after_all_messages() -> None:
    client = Input(["b"], ending=b"\x03\xe8")
    client.inbox.messages.append("a")
    await client.inbox.process(client.read_more)
    assert client.received == ["a", "b"]
    assert client.inbox.ending == b"\x03\xe8"


async def test_throttled_client_is_not_served() -> None:
    """Not even if it is woken while it is still throttled."""
    client = Input()
    client.inbox.messages.extend("abc")
    client.throttled = True
    task = asyncio.create_task(client.inbox.process(client.read_more))
    for _ in range(5):
        await asyncio.sleep(0)
        client.inbox.wake()
    assert client.received == ["a"]
    client.throttled = False
    client.inbox.wake()
    await task
    assert client.received == list("abc")
