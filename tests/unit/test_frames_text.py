"""Text messages that arrive in pieces: checked as they arrive, and each byte once."""

import codecs
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aionotify.errors import ProtocolError
from aionotify.frames import FrameReader, Opcode
from tests.support.frames import masked


@given(st.binary(max_size=40), st.lists(st.integers(1, 5), min_size=1))
def test_text_fails_at_first_wrong_byte(payload: bytes, sizes: list[int]) -> None:
    """Whatever the pieces, a text fails as soon as a decoder of all bytes so far would."""
    reader, stream = FrameReader(100), masked(0x81, payload + b"x")
    reader.feed(stream[: -len(payload) - 1])
    decoder = codecs.getincrementaldecoder("utf-8")()
    at = 0
    for size in itertools.islice(itertools.cycle(sizes), len(payload)):
        part = payload[at : at + size]
        reader.feed(stream[len(stream) - len(payload) - 1 + at :][: len(part)])
        at += size
        try:
            decoder.decode(part)
        except UnicodeDecodeError:
            with pytest.raises(ProtocolError):
                reader.read()
            return
        assert reader.read() is None


def test_message_in_pieces_is_no_slower_than_linear() -> None:
    """Each byte of a message that arrives in small pieces is looked at once."""
    size, count = 64, 4096
    reader, stream = FrameReader(size * count), masked(0x81, b"x" * size * count)
    checked = 0

    class Decoder:
        def decode(self, data: bytes) -> None:
            nonlocal checked
            checked += len(data)

    reader._decoder = Decoder()  # type: ignore[assignment]
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
        message = reader.read()
    assert message == (Opcode.TEXT, b"x" * size * count)
    assert checked <= size * count
