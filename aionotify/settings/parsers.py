"""Parsers of setting values. Each raises ValueError for invalid input."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from aionotify.net import ANY_ORIGIN, NULL_ORIGIN, Address, Origin, parse_origin

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_TOKEN = re.compile(r"[!-+\--~]{16,}")
"""Printable ASCII without the space, and without the comma that separates tokens."""


@dataclass(frozen=True, slots=True)
class Parser(Generic[T_co]):
    """A function from text to a value, and the sentence about its valid input."""

    parse: Callable[[str], T_co]
    """Raises ValueError. The text has no white space at its ends."""

    expected: str
    """Completes an error message: `(expected a port from 0 to 65535)`."""


def integer(low: int, high: int, *, unit: str = "a whole number", note: str = "") -> Parser[int]:
    """Return a parser of whole numbers from `low` to `high`."""

    def parse(text: str) -> int:
        # int() accepts more than a setting should: `1_000`, `+5`, and the digits of any script.
        # isdigit() alone accepts `²`. No limit has 20 digits; int() is slow for thousands.
        digits = text.isascii() and text.isdigit() and len(text) < 20
        if not digits or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Parser(parse, f"{unit} from {low} to {high}" + (f" ({note})" if note else ""))


def choice(*words: str) -> Parser[str]:
    """Return a parser of lower-case `words`, which may be written in upper case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return Parser(parse, f"{', '.join(words[:-1])} or {words[-1]}")


def _switch(text: str) -> bool:
    # The words of systemd.
    if text.lower() in ("on", "yes", "true", "1"):
        return True
    if text.lower() in ("off", "no", "false", "0"):
        return False
    raise ValueError


def comma_separated(parse: Callable[[str], T], expected: str) -> Parser[tuple[T, ...]]:
    """Return a parser of one or more values, separated by commas."""
    # An empty part reaches `parse`, which rejects it: `a,,b` and `a,` are typing errors.
    return Parser(lambda text: tuple(parse(part.strip()) for part in text.split(",")), expected)


def _host(text: str) -> str:
    if not text or not text.isprintable() or any(character in " /,@[]" for character in text):
        raise ValueError
    # socket.getaddrinfo encodes names like this. Without the check, an empty label (`a..b`) or
    # one of 64 characters would be a UnicodeError (a ValueError) when the server looks it up.
    text.encode("idna")
    return text


def _listening_host(text: str) -> str:
    """Return a host name or an address, without the brackets that URLs have around IPv6."""
    if text.startswith("[") and text.endswith("]") and ":" in text:
        text = text[1:-1]
    elif text.count(":") == 1:  # with a port
        raise ValueError
    return _host(text)


def _address(text: str) -> Address:
    """Return the address `host`, `host:port` or `[IPv6]:port`, with port 0 if there is none."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            raise ValueError
    else:  # a name, an IPv4 address, or an IPv6 address without brackets, which has two colons
        host, port = text, ""
    return Address(_host(host), PORT.parse(port) if port else 0)


def _origin(text: str) -> Origin | str:
    return text if text in (ANY_ORIGIN, NULL_ORIGIN) else parse_origin(text)


def _token(text: str) -> str:
    # fullmatch: `$` would accept a newline at the end.
    if not _TOKEN.fullmatch(text):
        raise ValueError
    return text


SWITCH = Parser(_switch, "on or off")
PORT = integer(1, 65535, unit="a port")
_HOSTS = comma_separated(
    _listening_host, "a host name or an address without a port, or several separated by commas"
)
HOSTS = Parser(lambda text: ",".join(_HOSTS.parse(text)), _HOSTS.expected)
ADDRESSES = comma_separated(_address, "host or host:port, several separated by commas")
ORIGINS = comma_separated(
    _origin,
    "origins like https://example.com, file:// or null, several separated by commas, or * for any",
)
TOKENS = comma_separated(
    _token,
    "a token of 16 or more ASCII characters without spaces and commas, "
    "or several separated by commas",
)
