"""The limit on open files, and so on connections."""

import contextlib

try:
    import resource
except ImportError:  # Windows has neither the module nor such a limit
    resource = None  # type: ignore[assignment]

RESERVED_FILES = 100
"""Open files kept free for memcached, listening sockets, short HTTP requests and the like.

Without them, a server full of subscribers could not even answer `/health`.
"""

UNLIMITED = 1_000_000


def raise_file_limit() -> None:
    """Raise the limit on open files as far as this user may."""
    if resource is None:
        return
    # Many systems start with a soft limit of 1,024, far below the hard limit, because select()
    # cannot handle more. The event loop uses epoll or kqueue, which can.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS has an infinite hard limit, and raises ValueError for it as a soft limit.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_allowed() -> int:
    """Return the number of subscribers that the limit on open files leaves room for."""
    if resource is None:
        return UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return UNLIMITED
    return max(1, soft - RESERVED_FILES)
