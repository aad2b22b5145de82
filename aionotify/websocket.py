"""A subscriber over WebSocket: frames in, replies out, the closing handshake (RFC 6455)."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from functools import partial

from aionotify.encoders import TEXT, Encoder
from aionotify.errors import ProtocolError
from aionotify.frames import (
    CloseCode,
    FrameReader,
    Opcode,
    decode_close,
    decode_text,
    encode_close,
    encode_frame,
)
from aionotify.inbox import Inbox
from aionotify.stats import ClientKind, DisconnectReason
from aionotify.subscriber import State, Subscriber

FRAMES_PER_TURN = 64
"""Frames of one client that are handled before the event loop goes on to other clients."""

MAX_UNSENT = 64 * 1024
"""Bytes that may wait for a client before its messages are no longer processed."""

CLOSE_TIMEOUT = 5.0
"""Seconds that a client has to answer a close frame."""

QUIET = 0.5
"""Seconds without input after which a failed connection has nothing under way anymore."""

MAX_MISSED_PONGS = 2
"""Heartbeats without any sign of life after which a client is disconnected."""

Receive = Callable[["WebSocketSubscriber", str], Awaitable[None]]


class WebSocketSubscriber(Subscriber):
    """A WebSocket client after the handshake.

    `receive` is awaited for each text message, in order, one at a time. Reading from the client
    pauses meanwhile, so the data it can make the server hold is bounded.
    """

    __slots__ = (
        "_inbox",
        "_limit",
        "_pong",
        "_reader",
        "_receive",
        "missed_pongs",
        "sender",
    )

    def __init__(
        self,
        encoder: Encoder,
        stall_timeout: float,
        *,
        admin: bool,
        limit: int,
        receive: Receive,
        sender: bytes = b"",
    ) -> None:
        """Create a subscriber; `limit` is the longest message in bytes."""
        super().__init__(encoder, stall_timeout)
        # None: no admin. A slot of its own for that would cost each idle client 16 bytes.
        self.sender = sender if admin else None
        """By what an admin is known again on another connection: see `Access.sender`."""
        self.missed_pongs = 0
        self._limit = limit
        # Exists only while a frame is incomplete: an idle client is a tenth smaller without it.
        self._reader: FrameReader | None = None
        self._receive = receive
        self._inbox: Inbox | None = None
        self._pong: bytes | None = None

    @property
    def admin(self) -> bool:
        """Whether it may publish."""
        return self.sender is not None

    @property
    def kind(self) -> ClientKind:
        """Text or JSON."""
        is_text = self.encoder.at_position(sys.maxsize) is TEXT
        return ClientKind.WEBSOCKET_TEXT if is_text else ClientKind.WEBSOCKET_JSON

    def may_publish(self, topic: str) -> bool:
        """Return whether the client may publish to `topic` without a prefix."""
        return self.admin

    def data_received(self, data: bytes) -> None:
        """Handle bytes from the client. After we sent a close frame, only its answer counts."""
        self.missed_pongs = 0
        if self.state >= State.DRAINING:
            return
        if self._reader is None:
            self._reader = FrameReader(self._limit)
        self._reader.feed(data)
        if self._inbox is None:
            inbox = Inbox(partial(self._receive, self), self._throttled)
            if self._read_frames(inbox) or inbox.messages:
                if not self.transport.is_closing():
                    self.transport.pause_reading()
                self._inbox = inbox
                inbox.task = asyncio.get_running_loop().create_task(self._process(inbox))
            else:
                self._end(inbox.ending)

    def eof_received(self) -> None:
        """Close the transport: the client ended the connection without a closing handshake."""
        self._close_within(CLOSE_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        """Unsubscribe the client. A message that is being published still is."""
        super().connection_lost(exc)
        self._wake_inbox()

    def resume_writing(self) -> None:
        """Continue delivery, and send the pong that had to wait."""
        self._wake_inbox()
        super().resume_writing()
        if self.writable and self._pong is not None:
            self.transport.write(encode_frame(Opcode.PONG, self._pong))
            self._pong = None

    def reply(self, text: str) -> None:
        """Send `text` to this client only, after everything published before."""
        if self.state < State.CLOSING and not self.transport.is_closing():
            self.topic.catch_up(self)
            self.transport.write(encode_frame(Opcode.TEXT, text.encode()))

    def ping(self, interval: float) -> None:
        """Send a ping (§5.5.2), or disconnect a client that did not react to the last two.

        The stall time-out watches a client that has yet to accept earlier data: its pong stands
        behind them, and they may take minutes on a slow link.
        """
        if self.missed_pongs and self._watch_outstanding():
            return
        if self.missed_pongs >= MAX_MISSED_PONGS:
            message = f"no answer to pings for {interval * MAX_MISSED_PONGS:g} s"
            self.disconnect(message, DisconnectReason.SILENT)
        elif self.writable:
            self.missed_pongs += 1
            self.transport.write(encode_frame(Opcode.PING, b""))

    def close_for_restart(self, timeout: float) -> None:
        """Close with 1012."""
        self.close(CloseCode.SERVICE_RESTART, "the server is restarting, please reconnect", timeout)

    def close(self, code: int, reason: str = "", timeout: float = CLOSE_TIMEOUT) -> None:
        """Start the closing handshake (§7.1.2); disconnect if it is not answered in time."""
        if self.state < State.CLOSING:
            self.topic.stats.closed[code] += 1
            if code != CloseCode.SERVICE_RESTART:  # "stopping" in the log covers all of these
                self._report(f"close {code}", f"{reason} ({code})")
            self.transport.write(encode_close(code, reason))
            self._close_within(timeout)

    def skip_to(self, first: int, id: int, *, counted: bool = True) -> None:
        """Report the gap to a JSON client; close a text client, which cannot be told, with 1013."""
        if self.encoder.gap(first - self.cursor, id) is None:
            self.topic.stats.disconnected[DisconnectReason.TOO_SLOW] += 1
            self.close(CloseCode.TRY_AGAIN_LATER, "too slow: notifications were missed")
        else:
            super().skip_to(first, id, counted=counted)

    def _read_frames(self, inbox: Inbox) -> bool:
        """Read the frames of one turn into `inbox`; return whether more may wait."""
        reader = self._reader
        if reader is None:
            return False
        try:
            for _ in range(FRAMES_PER_TURN):
                frame = reader.read() if self.state < State.DRAINING else None
                if frame is None:
                    if reader.empty:
                        self._reader = None
                    return False
                self._handle_frame(*frame, inbox)
                if inbox.ending is not None:
                    return False
        except ProtocolError as error:
            inbox.ending = error
            return False
        return True

    def _handle_frame(self, opcode: Opcode, payload: bytes, inbox: Inbox) -> None:
        if opcode == Opcode.CLOSE:
            decode_close(payload)
            inbox.ending = payload
        elif self.state >= State.CLOSING or opcode in (Opcode.CONTINUATION, Opcode.PONG):
            return
        elif opcode == Opcode.TEXT:
            inbox.messages.append(decode_text(payload))
        elif opcode == Opcode.BINARY:
            message = "binary frames are not supported, send text"
            raise ProtocolError(CloseCode.UNSUPPORTED_DATA, message)
        elif self.writable:
            if not self.transport.is_closing():
                self.transport.write(encode_frame(Opcode.PONG, payload))
        else:  # lagging; only the most recent ping needs an answer (§5.5.3)
            self._pong = payload

    def _end(self, ending: bytes | ProtocolError | None) -> None:
        """End the connection, after the client was sent everything that it has caused."""
        if ending is None or not self.connected:
            return
        if self.state < State.CLOSING:
            self.topic.catch_up(self)
        if isinstance(ending, ProtocolError):
            self._fail(ending)
        else:
            self._answer_close(ending)

    def _answer_close(self, payload: bytes) -> None:
        """Answer a close frame with its status, or with none (§5.5.1), and close."""
        if self.state < State.CLOSING:
            self.transport.write(encode_frame(Opcode.CLOSE, payload[:2]))
            self._close_within(CLOSE_TIMEOUT)
        self._discard_input()
        self.transport.close()

    def _fail(self, error: ProtocolError) -> None:
        """Fail the connection (§7.1.7), but end it only when nothing is under way anymore.

        Closing with unread data resets the connection, and the client might not see the close
        code. A proxy that sees the end of our stream may do the same on its side: behind hitch, a
        message that is too big ended with 1006 as long as the end followed the frame at once.
        """
        self.close(error.code, str(error))
        self._discard_input()
        self._wait_until_quiet(CLOSE_TIMEOUT)

    def _wait_until_quiet(self, seconds: float) -> None:
        self._cancel_timer()
        self.missed_pongs = 1  # any input resets it, as it does between two heartbeats
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(QUIET, self._check_quiet, seconds - QUIET)

    def _check_quiet(self, seconds: float) -> None:
        """End our side of a failed connection if no input came, and all of it in `seconds`."""
        if not self.missed_pongs and seconds > 0:
            self._wait_until_quiet(seconds)
            return
        self._close_within(max(0, seconds))
        if self.transport.is_closing():
            return
        if not self.transport.can_write_eof():  # TLS
            self.transport.close()
            return
        with contextlib.suppress(OSError):  # the client reset the connection just now
            self.transport.write_eof()

    def _discard_input(self) -> None:
        self.state = max(self.state, State.DRAINING)
        self._reader = None

    async def _process(self, inbox: Inbox) -> None:
        """Process the client's messages, and then what ends the connection."""
        try:
            await inbox.process(self._read_frames)
            self._inbox = None
            self._end(inbox.ending)
            if not self.transport.is_closing():
                self.transport.resume_reading()
        finally:
            if self._inbox is not None:  # a bug in `receive`, which the event loop reports
                self._inbox = None
                self.transport.abort()

    def _throttled(self) -> bool:
        """Return whether the client must read our replies first. Not while it leaves."""
        return self.state < State.CLOSING and self.transport.get_write_buffer_size() > MAX_UNSENT

    def _wake_inbox(self) -> None:
        if self._inbox is not None:
            self._inbox.wake()
