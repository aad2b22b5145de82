"""Values as people write them: what each of them means, or ValueError."""

import re
from collections.abc import Callable

from aionotify.net import Address, Origin, parse_origin

ANY = "*"
"""Among the allowed origins: every one."""


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`, in digits of ASCII."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise ValueError
        if not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return parse


def host_name(text: str) -> str:
    """A host name or an address, without a port."""
    if not text.isprintable() or any(character in " /,@" for character in text):
        raise ValueError
    text.encode("idna")  # else it is when it is looked up that this fails
    return text


def one_of(*words: str) -> Callable[[str], str]:
    """One of `words`, in upper or lower case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return parse


def addresses(text: str) -> tuple[Address, ...]:
    """Several of `host`, `host:port` and `[IPv6]:port`, separated by commas."""
    return tuple(_address(part.strip()) for part in text.split(","))


def _address(text: str) -> Address:
    """`host`, `host:port` or `[IPv6]:port`; a missing port is 0, to be filled in."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            raise ValueError
    else:
        host, port = text, ""
    if not host_name(host):
        raise ValueError
    return Address(host, integer(1, 65535)(port) if port else 0)


def origins(text: str) -> tuple[Origin | str, ...]:
    """Several origins, separated by commas; `ANY` may be among them."""
    parts = (part.strip() for part in text.split(","))
    return tuple(part if part == ANY else parse_origin(part) for part in parts)


_TOKEN = re.compile(r"[!-+\--~]{16,}")


def tokens(text: str) -> tuple[str, ...]:
    """Several tokens, separated by commas."""
    parts = tuple(part.strip() for part in text.split(","))
    if not all(map(_TOKEN.fullmatch, parts)):
        raise ValueError
    return parts
