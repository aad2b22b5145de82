"""Frames against the bytes of RFC 6455, and against the `websockets` library as a strict peer."""

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

HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
"""A masked text frame that contains "Hello" (§5.7)."""

MASK = b"\x01\x02\x03\x04"


def masked(first: int, payload: bytes, mask: bytes = MASK) -> bytes:
    """A frame from a client, whose first byte is `first`; built by hand."""
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 65536:
        head = bytes((first, 0xFE)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + length.to_bytes(8, "big")
    return head + mask + bytes(each ^ mask[at % 4] for at, each in enumerate(payload))


def read_all(data: bytes, limit: int = 1 << 20) -> list[tuple[Opcode, bytes]]:
    """Whatever `data` contains."""
    reader = FrameReader(limit)
    reader.feed(data)
    return drain(reader)


def drain(reader: FrameReader) -> list[tuple[Opcode, bytes]]:
    """What can be read at the moment, without the notices of messages that are incomplete."""
    found = []
    while (frame := reader.read()) is not None:
        if frame[0] != Opcode.CONTINUATION:
            found.append(frame)
    return found


def refusal(data: bytes, limit: int = 1 << 20) -> int:
    """The status with which `data` is refused."""
    with pytest.raises(ProtocolError) as refused:
        read_all(data, limit)
    return refused.value.code


# ------------------------------------------------------------------------------- §5.7, literally


def test_the_unmasked_text_of_the_examples_is_written() -> None:
    assert encode_frame(Opcode.TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")


def test_the_masked_text_of_the_examples_is_read() -> None:
    assert read_all(HELLO) == [(Opcode.TEXT, b"Hello")]


def test_the_ping_of_the_examples_is_written_and_its_masked_pong_is_read() -> None:
    assert encode_frame(Opcode.PING, b"Hello") == bytes.fromhex("890548656c6c6f")
    assert read_all(bytes.fromhex("8a8537fa213d7f9f4d5158")) == [(Opcode.PONG, b"Hello")]


def test_the_lengths_of_the_examples_are_written() -> None:
    assert encode_frame(Opcode.BINARY, bytes(256)) == bytes.fromhex("827e0100") + bytes(256)
    expected = bytes.fromhex("827f0000000000010000") + bytes(65536)
    assert encode_frame(Opcode.BINARY, bytes(65536)) == expected


HEADS = {
    0: "8100",
    1: "8101",
    125: "817d",
    126: "817e007e",
    65535: "817effff",
    65536: "817f0000000000010000",
}


@pytest.mark.parametrize("length", HEADS)
def test_every_form_of_length_is_written(length: int) -> None:
    payload = b"x" * length
    assert encode_frame(Opcode.TEXT, payload) == bytes.fromhex(HEADS[length]) + payload


@pytest.mark.parametrize("length", HEADS)
def test_every_form_of_length_is_read(length: int) -> None:
    payload = bytes(at % 251 for at in range(length))
    assert read_all(masked(0x82, payload)) == [(Opcode.BINARY, payload)]


# ---------------------------------------------------------------------------- fragments, control


def test_a_fragmented_message_is_put_together_with_control_frames_in_between() -> None:
    stream = masked(0x01, b"Hel") + masked(0x89, b"p") + masked(0x00, b"") + masked(0x80, b"lo")
    assert read_all(stream) == [(Opcode.PING, b"p"), (Opcode.TEXT, b"Hello")]


def test_a_new_message_may_begin_after_a_fragmented_one() -> None:
    stream = masked(0x01, b"a") + masked(0x80, b"b") + HELLO
    assert read_all(stream) == [(Opcode.TEXT, b"ab"), (Opcode.TEXT, b"Hello")]


def test_an_incomplete_message_is_reported_as_such() -> None:
    reader = FrameReader(10)
    reader.feed(masked(0x01, b"Hel"))
    assert reader.read() == (Opcode.CONTINUATION, b"")
    assert reader.read() is None


BROKEN = {
    "reserved bit 1": masked(0xC1, b"x"),
    "reserved bit 2": masked(0xA1, b"x"),
    "reserved bit 3": masked(0x91, b"x"),
    "opcode 3": masked(0x83, b"x"),
    "opcode 7": masked(0x87, b"x"),
    "opcode 11": masked(0x8B, b"x"),
    "opcode 15": masked(0x8F, b"x"),
    "not masked": bytes.fromhex("810548656c6c6f"),
    "a long ping": masked(0x89, bytes(126)),
    "a very long close": masked(0x88, bytes(65536)),
    "a fragmented ping": masked(0x09, b"x"),
    "a continuation of nothing": masked(0x80, b"x"),
    "a text within a message": masked(0x01, b"x") + HELLO,
    "a binary within a message": masked(0x01, b"x") + masked(0x82, b"x"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_protocol_is_refused_with_1002(name: str) -> None:
    assert refusal(BROKEN[name]) == 1002


def test_what_breaks_the_protocol_is_refused_at_its_first_two_bytes() -> None:
    assert refusal(b"\x81\x05") == 1002


def test_a_message_of_the_limit_is_read_and_one_byte_more_is_refused_with_1009() -> None:
    assert read_all(masked(0x81, b"12345"), 5) == [(Opcode.TEXT, b"12345")]
    assert refusal(masked(0x81, b"123456"), 5) == 1009


def test_too_big_is_refused_at_the_header_before_the_payload_is_there() -> None:
    assert refusal(bytes.fromhex("81ffffffffffffffffff") + MASK, 65536) == 1009


def test_the_limit_counts_all_fragments_together() -> None:
    stream = masked(0x01, b"123") + masked(0x00, b"45")
    assert read_all(stream + masked(0x80, b""), 5) == [(Opcode.TEXT, b"12345")]
    assert refusal(stream + masked(0x80, b"6"), 5) == 1009


def test_control_frames_do_not_count_against_the_limit() -> None:
    assert read_all(masked(0x89, bytes(125)), 5) == [(Opcode.PING, bytes(125))]


# ------------------------------------------------------------------------------------ close, text


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999])
def test_the_status_of_a_close_frame_is_read(code: int) -> None:
    assert decode_close(code.to_bytes(2, "big") + "grund: ü".encode()) == code


def test_a_close_frame_without_a_status_is_a_normal_end() -> None:
    assert decode_close(b"") == 1000


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_a_status_that_may_not_stand_in_a_frame_is_refused(code: int) -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_close(code.to_bytes(2, "big"))
    assert refused.value.code == 1002


def test_half_a_status_is_refused() -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_close(b"\x03")
    assert refused.value.code == 1002


def test_a_reason_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_close(b"\x03\xe8\xff")
    assert refused.value.code == 1007


def test_a_close_frame_is_written() -> None:
    assert encode_close(1012, "bye") == b"\x88\x05\x03\xf4bye"


def test_a_long_reason_is_cut_between_characters() -> None:
    frame = encode_close(1000, "ü" * 100)
    assert frame == b"\x88\x7c\x03\xe8" + "ü".encode() * 61


@pytest.mark.parametrize("payload", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_text_that_is_not_utf_8_is_refused_with_1007(payload: bytes) -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_text(payload)
    assert refused.value.code == 1007


def test_all_of_unicode_is_text() -> None:
    text = "a\0\n\u07ff\uffff\U0010ffff"
    assert decode_text(text.encode()) == text


# ------------------------------------------------------------------------------------- properties

PIECES = st.lists(st.binary(max_size=200), min_size=1, max_size=4)
CONTROLS = st.tuples(st.sampled_from([PeerOpcode.PING, PeerOpcode.PONG]), st.binary(max_size=125))
MESSAGES = st.tuples(
    st.sampled_from([PeerOpcode.TEXT, PeerOpcode.BINARY]), PIECES, st.lists(CONTROLS, max_size=3)
)


@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(1, 50), min_size=1))
def test_a_stream_reads_the_same_however_it_is_cut(
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
def test_any_bytes_are_read_or_refused_with_a_status_of_the_protocol(data: bytes) -> None:
    code: int = CloseCode.PROTOCOL_ERROR
    try:
        read_all(data, 100)
    except ProtocolError as error:
        code = error.code
    assert code in (CloseCode.PROTOCOL_ERROR, CloseCode.MESSAGE_TOO_BIG)


@given(
    st.sampled_from([PeerOpcode.TEXT, PeerOpcode.BINARY, PeerOpcode.PING, PeerOpcode.PONG]),
    st.binary(max_size=125),
)
def test_frames_are_written_as_a_strict_peer_writes_them(
    opcode: PeerOpcode, payload: bytes
) -> None:
    expected = Frame(opcode, payload).serialize(mask=False)
    assert encode_frame(Opcode(int(opcode)), payload) == expected


@pytest.mark.parametrize("length", HEADS)
def test_every_length_is_written_as_a_strict_peer_writes_it(length: int) -> None:
    payload = b"x" * length
    expected = Frame(PeerOpcode.TEXT, payload).serialize(mask=False)
    assert encode_frame(Opcode.TEXT, payload) == expected
