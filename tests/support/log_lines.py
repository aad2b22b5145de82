"""The server's log lines that several tests wait for, each written down once."""

CONNECTED = "connected to memcached at"
"""memcached is in use: since the start, since later, or (`reconnected`) after an outage."""

UNAVAILABLE = "memcached is unavailable"
"""No memcached was found at the start."""

FALLBACK = "keeping recent notifications in memory, retrying in the background"
"""What follows on `UNAVAILABLE` and `LOST`, and the reasons."""

LOST = "lost memcached at"
"""The memcached in use failed."""


def connected(address: str) -> str:
    """Return the line that reports `address` as the memcached found at the start or later."""
    return f" {CONNECTED} {address}"


def reconnected(address: str) -> str:
    """Return the line that reports `address` as in use again, with the end of the line."""
    return f" re{CONNECTED} {address}\n"


def without_times(log: str) -> list[str]:
    """Return the lines of a text log without the times."""
    return [line.partition("Z ")[2] for line in log.splitlines()]
