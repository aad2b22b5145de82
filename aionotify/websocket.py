"""A subscriber over WebSocket: frames in, answers out, the closing handshake (RFC 6455)."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from aionotify.counts import Cause
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
from aionotify.subscriber import Subscriber
from aionotify.wire import Encoding

FRAMES_PER_TURN = 64
"""How many frames of one client are dealt with before the event loop goes on to the others."""

MAX_UNSENT = 64 * 1024
"""How many bytes may wait for a client before it is no longer listened to."""

CLOSE_TIMEOUT = 5.0
"""Seconds that a client has to answer a close frame."""

Receive = Callable[["WebSocketSubscriber", str], Awaitable[None]]


class WebSocketSubscriber(Subscriber):
    """A client that has been upgraded.

    `receive` is awaited for each text message, in order, one at a time. Meanwhile the client is
    not read from, so what it can make the server hold is bounded.
    """

    __slots__ = ("_drained", "_pong", "_reader", "_receive", "_task", "admin", "silent", "topic")

    def __init__(
        self,
        encoding: Encoding,
        stall_timeout: float,
        *,
        admin: bool,
        topic: str,
        limit: int,
        receive: Receive,
    ) -> None:
        super().__init__(encoding, stall_timeout)
        self.admin = admin
        self.topic = topic
        self.silent = 0
        """How many heartbeats it has let pass without a sound."""
        self._reader: FrameReader | None = FrameReader(limit)
        self._receive = receive
        self._task: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._pong: bytes | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes from the client. After a close frame was sent, only its answer counts."""
        self.silent = 0
        if self._reader is None:
            return
        self._reader.feed(data)
        if self._task is None:
            inbox: deque[str] = deque()
            if self._read(inbox) or inbox:
                if not self.transport.is_closing():
                    self.transport.pause_reading()
                self._task = asyncio.get_running_loop().create_task(self._work(inbox))

    def eof_received(self) -> None:
        """The peer sends nothing more, and did not say goodbye: the transport is closed."""
        self._end(CLOSE_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone. A message that is being published still is."""
        super().connection_lost(exc)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def resume_writing(self) -> None:
        """The transport has drained."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        super().resume_writing()
        if self.ready and self._pong is not None:
            self.transport.write(encode_frame(Opcode.PONG, self._pong))
            self._pong = None

    def answer(self, text: str) -> None:
        """Send `text` to this client alone, behind what was published before."""
        if not self._leaving and not self.transport.is_closing():
            self.audience.catch_up(self)
            self.transport.write(encode_frame(Opcode.TEXT, text.encode()))

    def pulse(self, interval: float) -> None:
        """Ask for a sign of life, unless the client lags: then the stall time-out watches it.

        One that let two heartbeats pass without a sound is cut off.
        """
        if self.silent >= 2:
            self.cut_off(f"it was silent for {interval * 2:g} s", Cause.SILENT)
        elif self.ready:
            self.silent += 1
            self.transport.write(encode_frame(Opcode.PING, b""))

    def restart(self) -> None:
        """Close with 1012."""
        self.close(CloseCode.SERVICE_RESTART, "the server restarts, reconnect")

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake (§7.1.2); cut off if it is not answered in time."""
        if not self._leaving:
            self.transport.write(encode_close(code, reason))
            self._end(CLOSE_TIMEOUT)

    def overtaken(self, first: int) -> None:
        """Tell a client of JSON what it missed; close one of texts, which cannot be told."""
        if self.encoding.gap(first - self.cursor) is None:
            self.audience.counts.cut_off[Cause.TOO_SLOW] += 1
            self.close(CloseCode.TRY_AGAIN_LATER, "too slow: notifications were missed")
        else:
            super().overtaken(first)

    def _read(self, inbox: "deque[str]") -> bool:
        """Move messages to `inbox`, for one turn; answer whether more may be waiting."""
        try:
            for _ in range(FRAMES_PER_TURN):
                frame = self._reader.read() if self._reader is not None else None
                if frame is None:
                    return False
                self._take(*frame, inbox)
        except ProtocolError as error:
            self._give_up(error)
            return False
        return True

    def _take(self, opcode: Opcode, payload: bytes, inbox: "deque[str]") -> None:
        if opcode == Opcode.CLOSE:
            self._answer_close(decode_close(payload))
        elif self._leaving or opcode in (Opcode.CONTINUATION, Opcode.PONG):
            return
        elif opcode == Opcode.TEXT:
            inbox.append(decode_text(payload))
        elif opcode == Opcode.BINARY:
            self.close(CloseCode.UNSUPPORTED_DATA, "send text")
        elif self.ready:
            if not self.transport.is_closing():
                self.transport.write(encode_frame(Opcode.PONG, payload))
        else:  # §5.5.3: only the most recent ping need be answered
            self._pong = payload

    def _answer_close(self, code: int) -> None:
        self.close(code)
        self._reader = None
        self.transport.close()

    def _give_up(self, error: ProtocolError) -> None:
        """Fail the connection (§7.1.7): nothing that comes can be understood any more.

        It still is received: closing with unread bytes would reset the connection, and the client
        might never see why.
        """
        self.close(error.code, str(error))
        self._reader = None
        if not self.transport.is_closing() and self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the peer has reset the connection just now
                self.transport.write_eof()

    async def _work(self, inbox: "deque[str]") -> None:
        """Deal with what the client sent until nothing is left, a turn at a time."""
        try:
            while True:
                while inbox:
                    await self._receive(self, inbox.popleft())
                    await self._listened_to()
                await asyncio.sleep(0)
                if not self._read(inbox) and not inbox:
                    break
            self._task = None
            if not self.transport.is_closing():
                self.transport.resume_reading()
        finally:
            if self._task is not None:  # an error of ours, which the event loop reports
                self._task = None
                self.transport.abort()

    async def _listened_to(self) -> None:
        """Wait while the client leaves too many answers unread."""
        while not self._leaving and self.transport.get_write_buffer_size() > MAX_UNSENT:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
