"""Text for messages to users and operators."""

MAX_SHOWN = 100
"""Characters of a value that an error message repeats."""


def shorten(text: str, length: int = MAX_SHOWN) -> str:
    """Return `text`, cut to `length` characters and marked with `…` if it is longer."""
    # Requests, settings and memcached's answers may be megabytes long. Repeated whole, they would
    # fill the log, and a client could have its own bytes sent back.
    return text if len(text) <= length else text[:length] + "…"
