"""Every knob of the server. The only module that reads the environment."""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from dotenv import dotenv_values

from aionotify.errors import SettingsError


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Origin(NamedTuple):
    """Where a web page comes from (RFC 6454 §4). Two that are the same are equal."""

    scheme: str
    host: str
    port: int
    """0 where the scheme has none that we know."""


@dataclass(frozen=True, slots=True)
class _Spec:
    """How a setting is written in the environment.

    A secret is never shown, and may also come from a file: `<variable>_FILE` names it.
    """

    variable: str
    accepts: str
    parse: Callable[[str], Any]
    secret: bool = False

    @property
    def file_variable(self) -> str:
        return f"{self.variable}_FILE"


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise ValueError
        if not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return parse


def _host(text: str) -> str:
    if not text.isprintable() or any(character in " /,@" for character in text):
        raise ValueError
    text.encode("idna")  # else it is when it is looked up that this fails
    return text


def _level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError
    return text.lower()


def _format(text: str) -> str:
    if text.lower() not in ("text", "json"):
        raise ValueError
    return text.lower()


def _addresses(text: str) -> tuple[Address, ...]:
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
    if not _host(host):
        raise ValueError
    return Address(host, _integer(1, 65535)(port) if port else 0)


_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(text: str) -> Origin:
    """The value of the header `Origin`, or what is written like it. Raises ValueError."""
    found = _ORIGIN.fullmatch(text.lower()) if text.isascii() else None
    if found is None:
        raise ValueError
    scheme, host, port = found.groups()
    return Origin(scheme, host, int(port) if port else _DEFAULT_PORTS.get(scheme, 0))


ANY = "*"
"""Among the allowed origins: every one."""


def _origins(text: str) -> tuple[Origin | str, ...]:
    parts = (part.strip() for part in text.split(","))
    return tuple(part if part == ANY else origin(part) for part in parts)


_TOKEN = re.compile(r"[!-+\--~]{16,}")


def _tokens(text: str) -> tuple[str, ...]:
    tokens = tuple(part.strip() for part in text.split(","))
    if not all(map(_TOKEN.fullmatch, tokens)):
        raise ValueError
    return tokens


_PORT = "a port from 1 to 65535"
_TOKENS = (
    "a token of 16 or more letters, digits and signs of ASCII without space and comma, "
    "or several separated by commas"
)


def _setting(
    default: Any, variable: str, accepts: str, parse: Callable[[str], Any], *, secret: bool = False
) -> Any:
    spec = _Spec(variable, accepts, parse, secret)
    return field(default=default, repr=not secret, metadata={"spec": spec})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the server is told. The defaults serve a laptop; README.md explains each.

    Sizes are in bytes, times in seconds. Values given here are taken as they are; it is
    `read_settings` that checks what people write.
    """

    host: str = _setting("localhost", "AIONOTIFY_HOST", "a host name or an address", _host)
    port: int = _setting(
        8000, "AIONOTIFY_PORT", "a port from 0 to 65535 (0 picks a free one)", _integer(0, 65535)
    )
    memcached_hosts: tuple[Address, ...] = _setting(
        (), "MEMCACHED_HOST", "host or host:port, several separated by commas", _addresses
    )
    memcached_port: int = _setting(11211, "MEMCACHED_PORT", _PORT, _integer(1, 65535))
    recent_limit: int = _setting(
        5, "AIONOTIFY_RECENT_LIMIT", "a whole number from 1 to 1000", _integer(1, 1000)
    )
    recent_ttl: int = _setting(
        3600,
        "AIONOTIFY_RECENT_TTL",
        "whole seconds from 1 to 2592000 (30 days, the longest that memcached keeps)",
        _integer(1, 2_592_000),
    )
    log_limit: int = _setting(
        1000, "AIONOTIFY_LOG_LIMIT", "a whole number from 1 to 1000000", _integer(1, 1_000_000)
    )
    max_message_bytes: int = _setting(
        65536,
        "AIONOTIFY_MAX_MESSAGE_BYTES",
        "bytes from 1 to 1048576 (1 MiB)",
        _integer(1, 1_048_576),
    )
    max_connections: int = _setting(
        0,
        "AIONOTIFY_MAX_CONNECTIONS",
        "a whole number from 1 to 1000000",
        _integer(1, 1_000_000),
    )
    """0: as many as the file limit allows."""
    heartbeat: int = _setting(
        25, "AIONOTIFY_HEARTBEAT", "whole seconds from 0 to 3600, where 0 is off", _integer(0, 3600)
    )
    stall_timeout: int = _setting(
        30, "AIONOTIFY_STALL_TIMEOUT", "whole seconds from 1 to 3600", _integer(1, 3600)
    )
    shutdown_grace: int = _setting(
        5, "AIONOTIFY_SHUTDOWN_GRACE", "whole seconds from 0 to 300", _integer(0, 300)
    )
    admin_tokens: tuple[str, ...] = _setting(
        (), "AIONOTIFY_ADMIN_TOKEN", _TOKENS, _tokens, secret=True
    )
    """Who has one may send. None: anybody may."""
    user_tokens: tuple[str, ...] = _setting(
        (), "AIONOTIFY_USER_TOKEN", _TOKENS, _tokens, secret=True
    )
    """Who has one, or an admin's, may listen and read. None: anybody may."""
    allowed_origins: tuple[Origin | str, ...] = _setting(
        (),
        "AIONOTIFY_ALLOWED_ORIGINS",
        "origins like https://example.com, several separated by commas, or * for any",
        _origins,
    )
    trusted_proxies: int = _setting(
        0, "AIONOTIFY_TRUSTED_PROXIES", "a whole number from 0 to 10", _integer(0, 10)
    )
    log_level: str = _setting(
        "info", "AIONOTIFY_LOG_LEVEL", "debug, info, warning or error", _level
    )
    log_format: str = _setting("text", "AIONOTIFY_LOG_FORMAT", "text or json", _format)

    @property
    def memcached_addresses(self) -> tuple[Address, ...]:
        """The memcached servers to probe, in order."""
        hosts = self.memcached_hosts or (Address("localhost", 0), Address("memcached", 0))
        return tuple(Address(host, port or self.memcached_port) for host, port in hosts)


def read_settings(
    flags: Mapping[str, str], env_file: Path | None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, list[str]]:
    """The settings from `flags` (by field name), then the environment, then `env_file`.

    Also returns a sentence for each variable that looks like a setting and is none. An empty
    value counts as unset. `env_file=None` means `.env` in the working directory, if it is there.
    Raises SettingsError, with one line that names the variable, the value and what is accepted.
    """
    environ = os.environ if environ is None else environ
    written = _read_file(env_file)
    written |= {key: value for key, value in environ.items() if value.strip()}
    values: dict[str, Any] = {}
    for each in fields(Settings):
        spec = _spec(each)
        text = flags.get(each.name, "").strip() or written.get(spec.variable)
        if spec.secret and spec.file_variable in written:
            text = _from_file(spec, written)
            spec = replace(spec, variable=spec.file_variable)
        if text:
            values[each.name] = _parse(spec, text)
    return Settings(**values), _unknown(written)


def _spec(each: "Field[Any]") -> _Spec:
    spec = each.metadata["spec"]
    assert isinstance(spec, _Spec)
    return spec


def _read_file(path: Path | None) -> dict[str, str]:
    if path is not None and not path.is_file():
        raise SettingsError(f"--env-file: {str(path)!r} is not a file")
    try:
        values = dotenv_values(path or ".env")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path or '.env'} cannot be read: {error}") from error
    return {key: value for key, value in values.items() if value and value.strip()}


def _from_file(spec: _Spec, written: Mapping[str, str]) -> str:
    """A secret that stands in a file, as container engines hand them in."""
    path = Path(written[spec.file_variable])
    if spec.variable in written:
        raise SettingsError(
            f"{spec.variable} and {spec.file_variable} are both set; accepted is one of them"
        )
    if not path.is_file():
        raise SettingsError(f"{spec.file_variable}: {str(path)!r} is not a file")
    try:
        return path.read_text(encoding="utf-8") or " "
    except (OSError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error.strerror
        raise SettingsError(
            f"{spec.file_variable}: {str(path)!r} cannot be read: {reason}"
        ) from error


def _parse(spec: _Spec, text: str) -> Any:
    try:
        return spec.parse(text.strip())
    except ValueError:
        if spec.secret:
            raise SettingsError(
                f"{spec.variable}: what is set is not accepted, and not shown; "
                f"accepted is {spec.accepts}"
            ) from None
        shown = text if len(text) <= 100 else text[:100] + "…"
        raise SettingsError(
            f"{spec.variable}: {shown!r} is not accepted; accepted is {spec.accepts}"
        ) from None


def _unknown(written: Mapping[str, str]) -> list[str]:
    """A misspelt name would otherwise be a setting that silently does nothing."""
    specs = [_spec(each) for each in fields(Settings)]
    known = [spec.variable for spec in specs]
    known += [spec.file_variable for spec in specs if spec.secret]
    sentences = []
    for variable in written:
        if variable.startswith("AIONOTIFY_") and variable not in known:
            near = difflib.get_close_matches(variable, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            sentences.append(f"{variable} is no setting and does nothing{hint}")
    return sentences
