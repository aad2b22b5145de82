"""nats-py's client without its traps of TLS, and faster, checked against nats-py 2.16."""

import asyncio
import contextlib
import logging
import string
from collections.abc import Callable
from typing import Any

import nats.errors
from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 1.0
"""Seconds that closing may take."""

Receive = Callable[[Msg], None]
"""A function that gets each message of a subscription. It must not raise."""


class SafeClient(Client):
    """Never goes on without TLS if it has a context for it, and survives failed handshakes."""

    async def receive(self, subject: str, receive: Receive) -> None:
        """Subscribe to `subject`, and call `receive` in the turn of the loop that reads a message.

        Messages of all subscriptions are received in the order in which the server sent them.
        """
        # A callback of nats-py has a queue and a task of its own, and waits for another turn.
        await self.subscribe(subject, future=_Receiver(receive))  # type: ignore[arg-type]

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # nats-py leaves TLS to the server, even with `tls://`: an attacker on the way could turn it
        # off, and would get the password.
        if initial_connection and self.options.get("tls") and not info.get("tls_required"):
            raise nats.errors.Error("the server does not require TLS")
        await super()._process_info(info, initial_connection)

    async def _connect_to_server(self, s: Srv) -> None:
        if not self._transport:
            self._transport = _Transport()
        await super()._connect_to_server(s)

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        # nats-py decodes and checks each name by itself, which is a tenth of the CPU time of a node
        # that only follows. Names that are no tokens are never looked up here.
        pairs = (line.partition(":") for line in raw.decode(errors="replace").split("\r\n"))
        return {name: value.strip(string.whitespace) for name, colon, value in pairs if colon}


class _Receiver:
    """Stands for the future of a subscription, and passes each message on."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    def cancelled(self) -> bool:
        return False

    def set_result(self, msg: Msg) -> None:
        try:
            self._receive(msg)
        except Exception:
            # A fault in our code would end the task that reads: the node would be deaf.
            logger.exception("a message from NATS could not be processed")


class _Transport(TcpTransport):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __bool__(self) -> bool:
        return True  # otherwise, the client replaces it before it connects

    async def wait_closed(self) -> None:
        # nats-py waits for the stream that the TLS handshake has replaced. If that fails, nothing
        # tells the stream, so `connect` would never try again. The error of closing is of no
        # interest, and would hide the one of the handshake.
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await super().wait_closed()  # type: ignore[no-untyped-call]
