"""Every knob of the server. The only module that reads the environment."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from aionotify.errors import SettingsError
from aionotify.net import Address, Origin
from aionotify.settings.option import (
    ACCESS,
    LIMITS,
    LISTENING,
    LOG,
    RECENTS,
    TIMES,
    Option,
    option,
    option_of,
)
from aionotify.settings.parsers import (
    addresses,
    host_name,
    integer,
    one_of,
    origins,
    tokens,
)
from aionotify.text import shorten

__all__ = ["Settings", "options", "read_settings"]


_TOKENS = (
    "a token of 16 or more letters, digits and signs of ASCII without space and comma, "
    "or several separated by commas"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the server is told. The defaults serve a laptop.

    Sizes are in bytes, times in seconds. Values given here are taken as they are; it is
    `read_settings` that checks what people write.
    """

    host: str = option(
        "localhost",
        "AIONOTIFY_HOST",
        "a host name or an address",
        host_name,
        LISTENING,
        "where to listen; `localhost` is 127.0.0.1 and ::1, `0.0.0.0` every IPv4 address",
    )
    port: int = option(
        8000,
        "AIONOTIFY_PORT",
        "a port from 0 to 65535 (0 picks a free one)",
        integer(0, 65535),
        LISTENING,
        "0 picks a free one, and the log says which",
    )
    memcached_hosts: tuple[Address, ...] = option(
        (),
        "MEMCACHED_HOST",
        "host or host:port, several separated by commas",
        addresses,
        RECENTS,
        "`host` or `host:port`, several separated by commas, probed in that order, "
        "and nothing else is",
        unset="`localhost`, then `memcached`",
    )
    memcached_port: int = option(
        11211,
        "MEMCACHED_PORT",
        "a port from 1 to 65535",
        integer(1, 65535),
        RECENTS,
        "the port of those hosts that name none",
    )
    recent_limit: int = option(
        5,
        "AIONOTIFY_RECENT_LIMIT",
        "a whole number from 1 to 1000",
        integer(1, 1000),
        RECENTS,
        "how many recents a client is shown",
    )
    recent_ttl: int = option(
        3600,
        "AIONOTIFY_RECENT_TTL",
        "whole seconds from 1 to 2592000 (30 days, the longest that memcached keeps)",
        integer(1, 2_592_000),
        RECENTS,
        "seconds for which each is kept",
    )
    history_limit: int = option(
        1000,
        "AIONOTIFY_HISTORY_LIMIT",
        "a whole number from 1 to 1000000",
        integer(1, 1_000_000),
        LIMITS,
        "notifications that a topic retains in memory, for those who resume or read "
        "slowly; 16 MiB at most",
    )
    max_message_bytes: int = option(
        65536,
        "AIONOTIFY_MAX_MESSAGE_BYTES",
        "bytes from 1 to 1048576 (1 MiB)",
        integer(1, 1_048_576),
        LIMITS,
        "the longest message, in bytes of UTF-8",
    )
    max_connections: int = option(
        0,
        "AIONOTIFY_MAX_CONNECTIONS",
        "a whole number from 1 to 1000000",
        integer(1, 1_000_000),
        LIMITS,
        "clients at the same time; past that they get 503",
        unset="what the limit on open files allows",
    )
    """0: as many as the file limit allows."""
    heartbeat: int = option(
        25,
        "AIONOTIFY_HEARTBEAT",
        "whole seconds from 0 to 3600, where 0 is off",
        integer(0, 3600),
        TIMES,
        "seconds between two pings; a client silent for two of them is cut off; 0 is off",
    )
    stall_timeout: int = option(
        30,
        "AIONOTIFY_STALL_TIMEOUT",
        "whole seconds from 1 to 3600",
        integer(1, 3600),
        TIMES,
        "seconds after which a client that accepts no byte is cut off",
    )
    shutdown_grace: int = option(
        5,
        "AIONOTIFY_SHUTDOWN_GRACE",
        "whole seconds from 0 to 300",
        integer(0, 300),
        TIMES,
        "seconds in which clients are closed, one after another, when the server stops",
    )
    admin_tokens: tuple[str, ...] = option(
        (),
        "AIONOTIFY_ADMIN_TOKEN",
        _TOKENS,
        tokens,
        ACCESS,
        "who has it sends; unset: anybody does. 16 characters or more, several separated by commas",
        unset="unset",
        secret=True,
    )
    """Who has one may send. None: anybody may."""
    user_tokens: tuple[str, ...] = option(
        (),
        "AIONOTIFY_USER_TOKEN",
        _TOKENS,
        tokens,
        ACCESS,
        "who has it, or an admin's, listens and reads; unset: anybody does",
        unset="unset",
        secret=True,
    )
    """Who has one, or an admin's, may listen and read. None: anybody may."""
    allowed_origins: tuple[Origin | str, ...] = option(
        (),
        "AIONOTIFY_ALLOWED_ORIGINS",
        "origins like https://example.com, several separated by commas, or * for any",
        origins,
        ACCESS,
        "web pages of other origins that are let in: `https://example.com`, several "
        "separated by commas; `*` for any",
        unset="unset",
    )
    trusted_proxies: int = option(
        0,
        "AIONOTIFY_TRUSTED_PROXIES",
        "a whole number from 0 to 10",
        integer(0, 10),
        ACCESS,
        "how many proxies in front may be believed about the client's address and the name it used",
    )
    log_level: str = option(
        "info",
        "AIONOTIFY_LOG_LEVEL",
        "debug, info, warning or error",
        one_of("debug", "info", "warning", "error"),
        LOG,
        "`debug`, `info`, `warning` or `error`; `debug` has a line for each request, "
        "without its query",
    )
    log_format: str = option(
        "text",
        "AIONOTIFY_LOG_FORMAT",
        "text or json",
        one_of("text", "json"),
        LOG,
        "`text` for people, or `json` for machines: one object a line",
    )

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
        option = option_of(each)
        text = flags.get(each.name, "").strip() or written.get(option.variable)
        if option.secret and option.file_variable in written:
            text = _from_file(option, written)
            option = replace(option, variable=option.file_variable)
        if text:
            values[each.name] = _parse(option, text)
    return Settings(**values), _unknown(written)


def options() -> list[Option]:
    """What people are told about each option, in the order in which they are told."""
    return [option_of(each) for each in fields(Settings)]


def _read_file(path: Path | None) -> dict[str, str]:
    if path is not None and not path.is_file():
        raise SettingsError(f"--env-file: {str(path)!r} is not a file")
    try:
        values = dotenv_values(path or ".env")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path or '.env'} cannot be read: {error}") from error
    return {key: value for key, value in values.items() if value and value.strip()}


def _from_file(option: Option, written: Mapping[str, str]) -> str:
    """A secret that stands in a file, as container engines hand them in."""
    path = Path(written[option.file_variable])
    if option.variable in written:
        raise SettingsError(
            f"{option.variable} and {option.file_variable} are both set; accepted is one of them"
        )
    if not path.is_file():
        raise SettingsError(f"{option.file_variable}: {str(path)!r} is not a file")
    try:
        return path.read_text(encoding="utf-8") or " "
    except (OSError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error.strerror
        raise SettingsError(
            f"{option.file_variable}: {str(path)!r} cannot be read: {reason}"
        ) from error


def _parse(option: Option, text: str) -> Any:
    try:
        return option.parse(text.strip())
    except ValueError:
        if option.secret:
            raise SettingsError(
                f"{option.variable}: what is set is not accepted, and not shown; "
                f"accepted is {option.accepts}"
            ) from None
        raise SettingsError(
            f"{option.variable}: {shorten(text)!r} is not accepted; accepted is {option.accepts}"
        ) from None


def _unknown(written: Mapping[str, str]) -> list[str]:
    """A misspelt name would otherwise be a setting that silently does nothing."""
    known = [option.variable for option in options()]
    known += [option.file_variable for option in options() if option.secret]
    sentences = []
    for variable in written:
        if variable.startswith("AIONOTIFY_") and variable not in known:
            near = difflib.get_close_matches(variable, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            sentences.append(f"{variable} is no setting and does nothing{hint}")
    return sentences
