"""WebSocket frames: encoding and decoding (RFC 6455 §5). Pure: no transport, no event loop."""

import codecs
from enum import IntEnum

from aionotify.errors import ProtocolError


class Opcode(IntEnum):
    """The type of a frame (RFC 6455 §5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Why a connection is closed (RFC 6455 §7.4.1 and the IANA registry)."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    MESSAGE_TOO_BIG = 1009
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    TOKEN_EXPIRED = 3000


_OPCODES = frozenset(Opcode)
_CONTROL = frozenset((Opcode.CLOSE, Opcode.PING, Opcode.PONG))
_EXTRA_LENGTH = {126: 2, 127: 8}
"""Bytes of extended payload length that follow these values of the 7-bit length (§5.2)."""

_new_decoder = codecs.getincrementaldecoder("utf-8")


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """Encode one complete, unmasked frame, as a server sends it (§5.1)."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 65536:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big") + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """Encode a close frame. `reason` is cut to the 123 bytes that fit (§5.5)."""
    text = reason.encode()[:123].decode(errors="ignore").encode()
    return encode_frame(Opcode.CLOSE, code.to_bytes(2, "big") + text)


def decode_close(payload: bytes) -> int:
    """Return the status of a received close frame, 1000 if it has none (§5.5.1, §7.1.5).

    Raises ProtocolError if the status is not allowed in a frame (§7.4) or the reason is not UTF-8.
    """
    if not payload:
        return CloseCode.NORMAL
    code = int.from_bytes(payload[:2], "big")
    allowed = 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))
    if len(payload) == 1 or not allowed:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "invalid status in a close frame")
    decode_text(payload[2:])
    return code


class FrameReader:
    """Reassembles the messages of one client.

    `limit` is the longest message in bytes, all its fragments together. Beside the data fed at
    once, a reader holds at most one such message and one incomplete control frame.
    """

    __slots__ = (
        "_buffer",
        "_checked",
        "_control",
        "_decoder",
        "_frame",
        "_limit",
        "_message",
        "_opcode",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        """Bytes that were fed and not read."""
        self._frame: _Frame | None = None
        """The frame whose payload is being read."""
        self._opcode: Opcode | None = None
        """The type of the message that is being read."""
        self._message = bytearray()
        self._control = bytearray()
        self._decoder: codecs.IncrementalDecoder | None = None
        self._checked = 0

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        self._buffer += data

    @property
    def empty(self) -> bool:
        """Whether no frame and no message is incomplete."""
        return not self._buffer and self._opcode is None and self._frame is None

    def read(self) -> tuple[Opcode, bytes] | None:
        """Consume one frame; return None if no complete one was fed.

        Returns a complete message or control frame, or `(CONTINUATION, b"")` for a fragment of an
        incomplete message. Raises ProtocolError at the first violation, as soon as the header of
        the frame or the byte that is not UTF-8 has arrived; nothing can be read after that.
        """
        frame = self._frame or self._read_header()
        if frame is None:
            return None
        is_control = frame.opcode in _CONTROL
        complete = frame.take(self._buffer, self._control if is_control else self._message)
        if complete:
            self._frame = None
        if is_control:
            return self._finish_control(frame.opcode) if complete else None
        if complete and frame.final:
            return self._finish_message()
        self._check_text()
        return (Opcode.CONTINUATION, b"") if complete else None

    def _read_header(self) -> "_Frame | None":
        """Consume the header of a frame (§5.2) and return it, or None if it is incomplete."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        extra = _EXTRA_LENGTH.get(second & 0x7F, 0)
        self._check_header(first, second, extra)
        start = 2 + extra + 4
        if len(buffer) < start:
            return None
        length = int.from_bytes(buffer[2 : 2 + extra], "big") if extra else second & 0x7F
        opcode = Opcode(first & 0x0F)
        if opcode not in _CONTROL:
            if len(self._message) + length > self._limit:
                raise ProtocolError(
                    CloseCode.MESSAGE_TOO_BIG, f"message too big (limit {self._limit} bytes)"
                )
            self._opcode = self._opcode or opcode
        self._frame = _Frame(opcode, bool(first & 0x80), length, bytes(buffer[start - 4 : start]))
        del buffer[:start]
        return self._frame

    def _check_header(self, first: int, second: int, extra: int) -> None:
        """Raise ProtocolError if the first two bytes break §5.1, §5.2 or §5.5."""
        opcode, final = first & 0x0F, first & 0x80
        if first & 0x70:
            problem = "a reserved bit is set without an extension"
        elif opcode not in _OPCODES:
            problem = f"unknown opcode {opcode:#x}"
        elif not second & 0x80:
            problem = "a frame from a client must be masked"
        elif opcode in _CONTROL and (extra or not final):
            problem = "a control frame must be unfragmented and have at most 125 bytes"
        elif opcode == Opcode.CONTINUATION and self._opcode is None:
            problem = "continuation frame without a message"
        elif opcode in (Opcode.TEXT, Opcode.BINARY) and self._opcode is not None:
            problem = "new message before the end of the previous one"
        else:
            return
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, problem)

    def _check_text(self) -> None:
        """Raise ProtocolError if the part of a text message that has arrived is not UTF-8 (§8.1).

        A message that arrives whole never comes here: it is decoded, and thereby checked, once.
        """
        if self._opcode != Opcode.TEXT:
            return
        if self._decoder is None:
            self._decoder = _new_decoder()
        try:
            self._decoder.decode(bytes(self._message[self._checked :]))
        except UnicodeDecodeError as error:
            raise _not_utf8(error) from None
        self._checked = len(self._message)

    def _finish_control(self, opcode: Opcode) -> tuple[Opcode, bytes]:
        payload, self._control = bytes(self._control), bytearray()
        return opcode, payload

    def _finish_message(self) -> tuple[Opcode, bytes]:
        opcode, payload = self._opcode, bytes(self._message)
        assert opcode is not None
        self._opcode, self._message = None, bytearray()
        self._decoder, self._checked = None, 0
        return opcode, payload


class _Frame:
    """A frame whose header was read: the part of its payload that is still to come."""

    __slots__ = ("_left", "_mask", "final", "opcode")

    def __init__(self, opcode: Opcode, final: bool, length: int, mask: bytes) -> None:
        self.opcode = opcode
        self.final = final
        self._left = length
        self._mask = mask

    def take(self, source: bytearray, target: bytearray) -> bool:
        """Move the payload from `source` to `target`, unmasked; return whether it is complete."""
        part = bytes(source[: self._left])
        del source[: self._left]
        target += _unmask(part, self._mask)
        self._left -= len(part)
        turn = len(part) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]
        return self._left == 0


def decode_text(payload: bytes) -> str:
    """Decode a text payload. Raises ProtocolError if it is not UTF-8 (§8.1)."""
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(error) from None


def _not_utf8(error: UnicodeDecodeError) -> ProtocolError:
    return ProtocolError(CloseCode.INVALID_TEXT, f"text is not UTF-8: {error}")


def _unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR `payload` with the repeated mask (§5.3)."""
    # One XOR of two big integers runs in C; a loop over the bytes of 64 KiB takes milliseconds.
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")
    return number.to_bytes(length, "little")
