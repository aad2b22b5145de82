"""Network values: addresses and web origins."""

import asyncio
import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

ANY_ORIGIN = "*"
"""Among the allowed origins: every origin is allowed."""

NULL_ORIGIN = "null"
"""The origin of pages without one, such as local files and sandboxed frames."""

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]*)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """A host name or IP address with a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def peer_address(transport: asyncio.BaseTransport) -> str:
    """Return the address and port of the peer, for the log; `unknown` if it has none."""
    peer = transport.get_extra_info("peername")
    # The peer of a Unix socket is a text, and an IPv6 address comes with two more numbers.
    return str(Address(*peer[:2])) if isinstance(peer, tuple) else "unknown"


def peer_host(transport: asyncio.BaseTransport) -> str | None:
    """Return the address of the peer without its port; None if it has none."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else None


def network_of(address: str | None) -> str:
    """Return what connections from `address` are counted under, as text for the log.

    That is an IPv4 address itself, also if it is written as IPv6 (::ffff:192.0.2.1), and the /64
    network of any other IPv6 address. Anything else is `unknown`.
    """
    try:
        # Without the zone of a link-local address, `fe80::1%eth0`.
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)


class Origin(NamedTuple):
    """The origin of a web page (RFC 6454 §4), in lower case."""

    scheme: str
    host: str
    """Empty for pages of an application that load from no host, as in `file://`."""
    port: int
    """0 if the scheme has no known default port."""


def parse_origin(text: str) -> Origin:
    """Return the origin in an `Origin` header. Raise ValueError if the text is not an origin.

    An origin has no path, not even `/`, and no user name. `null` is not one: it identifies no page.
    """
    # Check for ASCII first: str.lower() turns the Kelvin sign into `k`, so into another host.
    found = _ORIGIN.fullmatch(text.lower()) if text.isascii() else None
    if found is None:
        raise ValueError
    scheme, host, port = found.groups()
    if not host and (port or scheme in _DEFAULT_PORTS):
        raise ValueError
    # Browsers leave the default port out (RFC 6454 §6.1), but users may write it.
    return Origin(scheme, host, int(port) if port else _DEFAULT_PORTS.get(scheme, 0))


def is_loopback(host: str) -> bool:
    """Return whether `host`, a name or an address, always means this machine (RFC 6761 §6.3)."""
    # `localhost.` with the dot of an absolute name resolves to the same address.
    name = host.lower().removesuffix(".").strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    # Before Python 3.13, `is_loopback` is False for ::ffff:127.0.0.1, which is 127.0.0.1.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_safe_url(text: str) -> bool:
    """Return whether `text` is a URL whose content nobody on the way can change.

    That is one with https, or with http and a host that always means this machine.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # ValueError for a port that is none
    except ValueError:
        return False
    # A user name and a password would end up in the log, with the URL.
    if not host or not text.isascii() or not text.isprintable() or " " in text or "@" in text:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
