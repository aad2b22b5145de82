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

FALLBACKS = (1_048_576, 245_760, 65_536, 10_240)
"""Soft limits to try, from the top, where the hard limit itself is refused.

macOS calls its hard limit infinite and refuses more than `kern.maxfilesperproc`, 245,760 or less;
10,240 (OPEN_MAX) is always accepted. Linux refuses more than `fs.nr_open`, usually 1,048,576.
"""


def raise_file_limit() -> None:
    """Raise the limit on open files as far as this user may."""
    if resource is None:
        return
    # Many systems start with a soft limit of 1,024, far below the hard limit, because select()
    # cannot handle more. The event loop uses epoll or kqueue, which can.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, *FALLBACKS):
        if wanted != hard and (wanted <= soft or wanted > hard != resource.RLIM_INFINITY):
            continue
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


def connections_allowed() -> int:
    """Return the number of subscribers that the limit on open files leaves room for."""
    if resource is None:
        return UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return UNLIMITED
    return max(1, soft - RESERVED_FILES)
