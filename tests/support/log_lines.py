"""The server's log lines that several tests wait for, each written down once."""

CONNECTED = "recents are kept in memcached at"
"""memcached is in use: at the start, and again after an outage."""

UNAVAILABLE = "no memcached answers"
"""No memcached was found at the start."""

FALLBACK = "recents are kept in memory"
"""The end of the line that starts with `UNAVAILABLE` and names the reasons."""

LOST = "lost memcached at"
"""The memcached in use failed."""


def connected(address: str) -> str:
    """Return the line that reports `address` as the memcached found at the start."""
    return f"{CONNECTED} {address}"


def reconnected(address: str) -> str:
    """Return the line that reports `address` as in use again, with the end of the line."""
    return f"{CONNECTED} {address} again\n"
