"""Keep Python's garbage collector out of time measurements."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def frozen_heap() -> Iterator[None]:
    """Exempt all existing objects from garbage collection until the block ends.

    A pytest worker that measures coverage holds some millions of objects (test modules, their
    syntax trees, coverage data). One full collection of them stops the process for 0.3 to 0.8 s
    on a busy machine with two cores (Python 3.11), and a test that runs the server in its own
    event loop would take that for a stall of the server, which has no such heap. Objects that the
    test itself creates are collected as usual. Blocks may be nested.
    """
    nested = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        if not nested:
            gc.unfreeze()
