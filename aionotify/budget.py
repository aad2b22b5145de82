"""The memory of all histories together."""

ENTRY_OVERHEAD = 250
"""Bytes that a retained notification costs in addition to its text (CPython 3.11, 64 bits)."""


class Budget:
    """Bytes that all histories of a process retain together, and how many they may.

    Counts text and an estimate of what the objects cost: a million short notifications are large.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
