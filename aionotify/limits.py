"""How many files, and so connections, the operating system lets this process have."""

import contextlib

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

RESERVED = 100
"""Files kept for all that is no subscriber: memcached, listening sockets, `/health`."""

UNLIMITED = 1_000_000


def raise_file_limit() -> None:
    """Ask for as many open files as this user may have."""
    if resource is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses "infinity"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_allowed() -> int:
    """How many subscribers the file limit leaves room for."""
    if resource is None:
        return UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return UNLIMITED
    return max(1, soft - RESERVED)
