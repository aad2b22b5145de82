"""Random changes to an input."""

import random
from collections.abc import Sequence

PIECES = (b"\r\n", b"\n", b"\x00", b"\xff", b":", b" ", b",", b"\r\n\r\n", b"9" * 40, b"%", b"[")
"""Bytes that mean something to a parser."""


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Return one of `corpus`, unchanged or broken in up to 16 places."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        till = at + chance.choice((1, 1, 2, 8, 64))
        match chance.randrange(6):
            case 0:
                data[at:till] = chance.randbytes(till - at)
            case 1:
                data[at:at] = chance.choice(PIECES)
            case 2:
                del data[at:till]
            case 3:
                data[at:at] = data[at:till] * chance.choice((1, 2, 50))
            case 4:
                data[at:] = chance.choice(corpus)[: 1 << 16]
            case _ if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
    return bytes(data)
