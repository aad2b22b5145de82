"""A connection to NATS for as long as the process lives, with nats-py's traps fenced off.

The traps are listed in `aionotify/README.md`, with the version on which each was seen.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from aionotify.broker.nats.client import CLOSE_TIMEOUT, Receive, SafeClient
from aionotify.broker.nats.options import CONNECT_TIMEOUT, describe, options
from aionotify.errors import BrokerError, NoAnswer
from aionotify.settings import Settings

logger = logging.getLogger(__name__)

GIVE_UP_AFTER = 60.0
"""Seconds without a connection after which nats-py's client is replaced by a new one.

It tries all servers again and again itself; this is for the case that it does not.
"""

CHECK_INTERVAL = 1.0
"""Seconds between two probes of the server, and until it must have answered one."""

MIN_VERSION = (2, 11)
"""nats-server 2.11 is the first one with batches of Direct Get."""

HEADER_ROOM = 512
"""Bytes of a payload that are left to headers, beside the fields."""

MAX_REPORTED = 20
"""Errors that are logged, each once."""

# What nats-py raises in publish and subscribe, by whichever way a connection has ended.
_FAILURES = (nats.errors.Error, OSError, TimeoutError)


class Connection:
    """Publishes, requests and subscribes, whichever server answers.

    `subscriptions` are made on each connect, after which `on_connected` is called. None of these
    functions may raise.
    """

    def __init__(
        self,
        settings: Settings,
        subscriptions: Mapping[str, Receive],
        on_connected: Callable[[], None],
    ) -> None:
        assert settings.nats_url is not None
        self._settings, self._servers = settings, settings.nats_url
        self._subscriptions = subscriptions
        self._on_connected = on_connected
        self._client: Client | None = None
        self._ready = False
        self._task: asyncio.Task[None] | None = None
        self._probe: asyncio.Task[float] | None = None
        self._inbox = ""
        self._numbers = itertools.count()
        self._waiting: dict[str, Receive] = {}
        self._unanswered: dict[asyncio.Future[Msg], str] = {}
        self._changed = asyncio.Event()
        self._reported: set[str] = set()
        self.reason = "no answer"
        """Why there is no connection, or what the server refused last."""

    @property
    def connected(self) -> bool:
        """Whether a server answers."""
        return self._ready and self._client is not None and self._client.is_connected

    @property
    def server(self) -> str:
        """The address of the connected server, for the log."""
        url = self._client.connected_url if self._client else None
        return f"{url.hostname}:{url.port}" if url else "unknown"

    @property
    def version(self) -> tuple[int, int]:
        """The major and minor version of the connected server, or zeros."""
        if not self.connected or self._client is None:
            return 0, 0
        version = self._client.connected_server_version
        return version.major, version.minor

    @property
    def max_message(self) -> int:
        """Bytes that a message may have together with its fields."""
        return self._client.max_payload - HEADER_ROOM if self._client else 0

    def start(self) -> None:
        """Connect, and stay connected, in the background."""
        self._task = asyncio.get_running_loop().create_task(self._supervise())

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._discard()

    async def publish(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str] | None = None,
        reply: str = "",
    ) -> None:
        """Send a message. Raise BrokerError if there is no connection."""
        client = self._client
        if client is None or not self.connected:
            raise BrokerError(f"not connected: {self.reason}")
        try:
            await client.publish(subject, payload, reply, dict(headers) if headers else None)
        except _FAILURES as error:
            raise BrokerError(describe(error)) from error

    async def request(
        self,
        subject: str,
        payload: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float,
    ) -> Msg:
        """Send a message, and return the first answer. Raise NoAnswer or BrokerError."""
        found: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

        def receive(msg: Msg) -> None:
            if not found.done():
                found.set_result(msg)

        with self.answers(receive) as reply:
            await self.publish(subject, payload, headers, reply)
            self._unanswered[found] = subject
            try:
                async with asyncio.timeout(timeout):
                    msg = await found
            except TimeoutError:
                raise NoAnswer(f"no answer within {timeout:g} s") from None
            finally:
                del self._unanswered[found]
        if (msg.headers or {}).get("Status") == "503":
            raise BrokerError("nothing listens on the subject", 503)
        return msg

    def give_up(self, *prefixes: str) -> None:
        """Raise NoAnswer in all requests to subjects with these prefixes: no answer will come.

        Also ends all pauses: it is time to try again.
        """
        for found, subject in self._unanswered.items():
            if subject.startswith(prefixes) and not found.done():
                found.set_exception(NoAnswer("the server that had the request is gone"))
        self._changed.set()
        self._changed = asyncio.Event()

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until there is a new connection, or a new leader."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    @contextlib.contextmanager
    def answers(self, receive: Receive) -> Any:
        """Return a subject for answers, which `receive` gets while the context lasts."""
        token = str(next(self._numbers))
        self._waiting[token] = receive
        try:
            yield f"{self._inbox}.{token}"
        finally:
            del self._waiting[token]

    async def _supervise(self) -> None:
        """Make one client after another."""
        while True:
            try:
                await self._run_client()
            except Exception as error:  # of nats-py, or of nkeys, whatever is in the file
                self.reason = describe(error)
            await self._discard()
            await asyncio.sleep(CHECK_INTERVAL / 2)

    async def _run_client(self) -> None:
        """Connect a client, and return when it is of no use anymore."""
        client = self._client = SafeClient()
        loop = asyncio.get_running_loop()
        # In a task of its own: with unlimited attempts, `connect` (nats-py 2.16) never returns
        # while no server answers, and passes a cancellation over.
        connecting = loop.create_task(
            client.connect(
                **options(self._servers, self._settings),
                error_cb=self._on_error,
                reconnected_cb=self._on_connect,
            )
        )
        _, pending = await asyncio.wait([connecting], timeout=GIVE_UP_AFTER)
        if pending:
            connecting.cancel()
            await asyncio.wait([connecting], timeout=CLOSE_TIMEOUT)
            return
        connecting.result()
        self._inbox = client.new_inbox()
        await client.receive(f"{self._inbox}.*", self._on_answer)
        for subject, receive in self._subscriptions.items():
            await client.receive(subject, receive)
        await client.flush(timeout=int(CONNECT_TIMEOUT))
        self._ready = True
        await self._on_connect()
        await self._watch(client)

    async def _watch(self, client: Client) -> None:
        """Probe the server; return if the client is closed or does not find another one."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while not client.is_closed and loop.time() - last < GIVE_UP_AFTER:
            await asyncio.sleep(CHECK_INTERVAL)
            if client.is_connected:
                last = loop.time()
                if not await self._answers(client):
                    # Pings of nats-py notice a frozen server only after minutes.
                    self.reason = f"{self.server} is silent"
                    await client.force_reconnect()

    async def _answers(self, client: Client) -> bool:
        """Return whether the server answers a ping within `CHECK_INTERVAL`."""
        # Not by the time-out of `rtt` (nats-py 2.16): if the answer came after all, setting the
        # canceled future would fail, and end the task that reads. After the next connect, nats-py
        # has forgotten the ping, so it can be given up.
        if self._probe is not None:
            self._probe.cancel()
        self._probe = asyncio.get_running_loop().create_task(client.rtt(int(GIVE_UP_AFTER)))
        done, _ = await asyncio.wait([self._probe], timeout=CHECK_INTERVAL)
        if done:
            self._probe.result()
        return bool(done)

    async def _discard(self) -> None:
        client, self._client, self._ready = self._client, None, False
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        if client is not None:
            closing = asyncio.get_running_loop().create_task(client.close())
            await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)
            closing.cancel()

    async def _on_connect(self) -> None:
        # It may be lost again already, and the version unknown.
        if self.connected and self.version < MIN_VERSION:
            self._report(f"nats-server at {self.server} is too old (expected 2.11 or newer)")
        # Answers to the connection before are lost, and a time-out would delay publishers by 1 s.
        self.give_up("")
        self._on_connected()

    async def _on_error(self, error: Exception) -> None:
        # It must not raise (nats-py 2.16): the client would stay connected, and deaf.
        self.reason = describe(error)
        # A missing right shows itself nowhere else: the request has no answer.
        if "permissions" in self.reason.lower() or "authorization" in self.reason.lower():
            self._report(f"NATS: {self.reason}")

    def _report(self, message: str) -> None:
        """Log a message once."""
        if message not in self._reported and len(self._reported) < MAX_REPORTED:
            self._reported.add(message)
            logger.warning("%s", message)

    def _on_answer(self, msg: Msg) -> None:
        receive = self._waiting.get(msg.subject.rpartition(".")[2])
        if receive is not None:
            receive(msg)
