"""WebSocket frames, compared with the bytes of RFC 6455 and with the `websockets` library."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as PeerOpcode

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
from tests.support.frames import MASK, masked

HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
"""A masked text frame that contains "Hello" (§5.7)."""

HEADS = {
    0: "8100",
    1: "8101",
    125: "817d",
    126: "817e007e",
    65535: "817effff",
    65536: "817f0000000000010000",
}
"""The headers of text frames by length: around both changes of the length's form (§5.2)."""

VIOLATIONS = {
    "reserved bit 1": masked(0xC1, b"x"),
    "reserved bit 2": masked(0xA1, b"x"),
    "reserved bit 3": masked(0x91, b"x"),
    "opcode 3": masked(0x83, b"x"),
    "opcode 7": masked(0x87, b"x"),
    "opcode 11": masked(0x8B, b"x"),
    "opcode 15": masked(0x8F, b"x"),
    "not masked": bytes.fromhex("810548656c6c6f"),
    "long ping": masked(0x89, bytes(126)),
    "very long close": masked(0x88, bytes(65536)),
    "fragmented ping": masked(0x09, b"x"),
    "continuation of nothing": masked(0x80, b"x"),
    "text within a message": masked(0x01, b"x") + HELLO,
    "binary within a message": masked(0x01, b"x") + masked(0x82, b"x"),
}
"""Streams that break §5, by the rule that they break."""

CUTS = st.lists(st.integers(0, 200), max_size=3)
PIECES = st.lists(st.binary(max_size=200), min_size=1, max_size=4)
CONTROLS = st.tuples(st.sampled_from([PeerOpcode.PING, PeerOpcode.PONG]), st.binary(max_size=125))
CHARACTERS = st.characters(codec="utf-8")


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut `data` into pieces, within characters as well as between them."""
    ends = [0, *sorted(min(each, len(data)) for each in at), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends)]


TEXTS = st.builds(lambda text, at: cut(text.encode(), at), st.text(CHARACTERS), CUTS)
MESSAGES = st.one_of(
    st.tuples(st.just(PeerOpcode.TEXT), TEXTS, st.lists(CONTROLS, max_size=3)),
    st.tuples(st.just(PeerOpcode.BINARY), PIECES, st.lists(CONTROLS, max_size=3)),
)


def read_all(data: bytes, limit: int = 1 << 20) -> list[tuple[Opcode, bytes]]:
    """Return the messages and control frames in `data`."""
    reader = FrameReader(limit)
    reader.feed(data)
    return drain(reader)


def drain(reader: FrameReader) -> list[tuple[Opcode, bytes]]:
    """Return everything that can be read now, except fragments of incomplete messages."""
    found = []
    while (frame := reader.read()) is not None:
        if frame[0] != Opcode.CONTINUATION:
            found.append(frame)
    return found


def close_code(data: bytes, limit: int = 1 << 20) -> int:
    """Return the close code of the error that `data` raises."""
    with pytest.raises(ProtocolError) as caught:
        read_all(data, limit)
    return caught.value.code


# -------------------------------------------------------------------------- the examples of §5.7


def test_example_text_is_encoded() -> None:
    assert encode_frame(Opcode.TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")


def test_example_masked_text_is_decoded() -> None:
    assert read_all(HELLO) == [(Opcode.TEXT, b"Hello")]


def test_example_ping_and_pong() -> None:
    assert encode_frame(Opcode.PING, b"Hello") == bytes.fromhex("890548656c6c6f")
    assert read_all(bytes.fromhex("8a8537fa213d7f9f4d5158")) == [(Opcode.PONG, b"Hello")]


def test_example_lengths_are_encoded() -> None:
    assert encode_frame(Opcode.BINARY, bytes(256)) == bytes.fromhex("827e0100") + bytes(256)
    expected = bytes.fromhex("827f0000000000010000") + bytes(65536)
    assert encode_frame(Opcode.BINARY, bytes(65536)) == expected


@pytest.mark.parametrize("length", HEADS)
def test_length_is_encoded(length: int) -> None:
    payload = b"x" * length
    assert encode_frame(Opcode.TEXT, payload) == bytes.fromhex(HEADS[length]) + payload


@pytest.mark.parametrize("length", HEADS)
def test_length_is_decoded(length: int) -> None:
    payload = bytes(at % 251 for at in range(length))
    assert read_all(masked(0x82, payload)) == [(Opcode.BINARY, payload)]


# ------------------------------------------------------------------ fragments and control frames


def test_fragments_are_assembled() -> None:
    """Control frames may come between the fragments of a message (§5.4)."""
    stream = masked(0x01, b"Hel") + masked(0x89, b"p") + masked(0x00, b"") + masked(0x80, b"lo")
    assert read_all(stream) == [(Opcode.PING, b"p"), (Opcode.TEXT, b"Hello")]


def test_message_follows_fragmented_one() -> None:
    stream = masked(0x01, b"a") + masked(0x80, b"b") + HELLO
    assert read_all(stream) == [(Opcode.TEXT, b"ab"), (Opcode.TEXT, b"Hello")]


def test_fragment_reads_as_continuation() -> None:
    reader = FrameReader(10)
    reader.feed(masked(0x01, b"Hel"))
    assert reader.read() == (Opcode.CONTINUATION, b"")
    assert reader.read() is None


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violation_is_code_1002(name: str) -> None:
    assert close_code(VIOLATIONS[name]) == 1002


def test_violation_is_found_in_two_bytes() -> None:
    """A client cannot make the server wait for the rest of a frame that breaks the protocol."""
    assert close_code(b"\x81\x05") == 1002


def test_message_above_limit_is_code_1009() -> None:
    assert read_all(masked(0x81, b"12345"), 5) == [(Opcode.TEXT, b"12345")]
    assert close_code(masked(0x81, b"123456"), 5) == 1009


def test_limit_applies_to_header() -> None:
    """A message that is too big is rejected before its payload is received."""
    assert close_code(bytes.fromhex("81ffffffffffffffffff") + MASK, 65536) == 1009


def test_limit_applies_to_all_fragments() -> None:
    stream = masked(0x01, b"123") + masked(0x00, b"45")
    assert read_all(stream + masked(0x80, b""), 5) == [(Opcode.TEXT, b"12345")]
    assert close_code(stream + masked(0x80, b"6"), 5) == 1009


def test_limit_ignores_control_frames() -> None:
    assert read_all(masked(0x89, bytes(125)), 5) == [(Opcode.PING, bytes(125))]


# ------------------------------------------------------------------------- close frames and text


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999])
def test_close_code_is_decoded(code: int) -> None:
    assert decode_close(code.to_bytes(2, "big") + "grund: ü".encode()) == code


def test_empty_close_is_code_1000() -> None:
    assert decode_close(b"") == 1000


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_reserved_close_code_is_rejected(code: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_close(code.to_bytes(2, "big"))
    assert caught.value.code == 1002


def test_short_close_payload_is_rejected() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_close(b"\x03")
    assert caught.value.code == 1002


def test_invalid_utf8_reason_is_rejected() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_close(b"\x03\xe8\xff")
    assert caught.value.code == 1007


def test_close_is_encoded() -> None:
    assert encode_close(1012, "bye") == b"\x88\x05\x03\xf4bye"


def test_long_reason_is_cut_between_characters() -> None:
    frame = encode_close(1000, "ü" * 100)
    assert frame == b"\x88\x7c\x03\xe8" + "ü".encode() * 61


@pytest.mark.parametrize("payload", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_invalid_utf8_text_is_code_1007(payload: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_text(payload)
    assert caught.value.code == 1007


def test_text_may_be_any_unicode() -> None:
    text = "a\0\n\u07ff\uffff\U0010ffff"
    assert decode_text(text.encode()) == text


# ------------------------------------------------------------------------------------ properties


@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(1, 50), min_size=1))
def test_stream_reads_same_in_any_pieces(
    messages: list[tuple[PeerOpcode, list[bytes], list[tuple[PeerOpcode, bytes]]]],
    sizes: list[int],
) -> None:
    stream, expected = b"", []
    for opcode, pieces, controls in messages:
        for at, piece in enumerate(pieces):
            last = at == len(pieces) - 1
            kind = PeerOpcode.CONT if at else opcode
            stream += Frame(kind, piece, fin=last).serialize(mask=True)
            if not last:
                for control, payload in controls:
                    stream += Frame(control, payload).serialize(mask=True)
                    expected.append((int(control), payload))
        expected.append((int(opcode), b"".join(pieces)))
    reader, found, at, cut = FrameReader(1000), [], 0, 0
    while at < len(stream):
        size = sizes[cut % len(sizes)]
        reader.feed(stream[at : at + size])
        found += drain(reader)
        at, cut = at + size, cut + 1
    assert found == expected


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_rejected(data: bytes) -> None:
    code: int = CloseCode.PROTOCOL_ERROR
    try:
        read_all(data, 100)
    except ProtocolError as error:
        code = error.code
    assert code in (CloseCode.PROTOCOL_ERROR, CloseCode.MESSAGE_TOO_BIG, CloseCode.INVALID_TEXT)


@given(
    st.sampled_from([PeerOpcode.TEXT, PeerOpcode.BINARY, PeerOpcode.PING, PeerOpcode.PONG]),
    st.binary(max_size=125),
)
def test_frames_equal_those_of_websockets(opcode: PeerOpcode, payload: bytes) -> None:
    expected = Frame(opcode, payload).serialize(mask=False)
    assert encode_frame(Opcode(int(opcode)), payload) == expected


@pytest.mark.parametrize("length", HEADS)
def test_lengths_equal_those_of_websockets(length: int) -> None:
    payload = b"x" * length
    expected = Frame(PeerOpcode.TEXT, payload).serialize(mask=False)
    assert encode_frame(Opcode.TEXT, payload) == expected
