"""Headers of trusted reverse proxies: the client's address, and the host name that it used."""

import ipaddress
import re

from aiohttp import web

from aionotify.access.headers import list_header

# An address with a port, as RFC 7239 §6 has it for `Forwarded`, and as some proxies write it into
# `X-Forwarded-For` too (Azure Application Gateway). IPv6 without brackets has no port, or the end
# of `2001:db8::1` would be taken for one.
_ADDRESS_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]*)?|([0-9.]+):[0-9]*")


def forwarded_address(request: web.Request, proxies: int) -> str | None:
    """Return the client's address as reported by the outermost of `proxies` trusted proxies.

    Return None without trusted proxies, if there are fewer entries than trusted proxies, and if
    the entry is not an IP address, such as `unknown` (RFC 7239 §6).
    """
    if not proxies:
        return None
    hops = list_header(request, "X-Forwarded-For")
    if not hops:
        hops = [_for_parameter(each) for each in list_header(request, "Forwarded")]
    # Count from the right: each proxy appends the address that it was called from, so the last
    # `proxies` entries come from trusted proxies. Entries further left came with the request, and
    # a client can forge them. A list that is too short means that a proxy was bypassed.
    return _parse_address(hops[-proxies]) if len(hops) >= proxies else None


def requested_host(request: web.Request, proxies: int) -> str:
    """Return the host name that the client used, from `X-Forwarded-Host` or `Host`."""
    names = list_header(request, "X-Forwarded-Host") if proxies else []
    if names:
        # Counted from the right as above. But many proxies replace this header instead of
        # appending to it, so that one entry behind several proxies is normal and not too few.
        return names[max(0, len(names) - proxies)]
    return request.headers.get("Host", "")


def _for_parameter(element: str) -> str:
    """Return the parameter `for` of one element of `Forwarded`, or "" (RFC 7239 §5.2)."""
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""


def _parse_address(text: str) -> str | None:
    """Return the IP address in `text`, normalized and without its port, or None."""
    # Anything else is dropped: proxies write `unknown` or a made-up name, and a client that reaches
    # the server without the proxy could write any text into the log.
    found = _ADDRESS_WITH_PORT.fullmatch(text)
    host = (found[1] or found[2]) if found else text
    try:
        # Without the zone of `fe80::1%eth0`: `ipaddress` (Python 3.11 to 3.13) accepts any text in
        # it, and control characters would reach the log.
        return str(ipaddress.ip_address((host or "").partition("%")[0]))
    except ValueError:
        return None
