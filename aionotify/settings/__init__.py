"""The settings: one table, and the only code that reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from aionotify.errors import SettingsError
from aionotify.net import Address, Origin
from aionotify.settings.env_file import read_env_file
from aionotify.settings.hints import hints_on
from aionotify.settings.jwt import (
    CLAIM,
    KEY_SET,
    PUBLIC_KEY,
    SECRETS,
    PublicKey,
    refuse_contradictions,
)
from aionotify.settings.nats import (
    CA_FILE,
    CREDENTIALS_FILE,
    SERVERS,
    STREAM,
    NatsServers,
)
from aionotify.settings.option import UNSET, Group, Option, option, option_of
from aionotify.settings.parsers import (
    ADDRESSES,
    HOSTS,
    ORIGINS,
    PORT,
    SWITCH,
    TOKENS,
    choice,
    integer,
)
from aionotify.settings.services import without_services
from aionotify.text import shorten

__all__ = ["Settings", "options", "read_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's configuration, with defaults for a laptop.

    Sizes are in bytes, times in seconds.
    Values passed here are not checked; `read_settings` checks text from outside.
    """

    # The table stays narrow: one argument per line, as the formatter wants it, doubles its length.
    # fmt: off
    host: str = option("localhost", HOSTS, group=Group.LISTENING,
        help="Addresses to listen on, several separated by commas. `localhost` is 127.0.0.1 and "
        "::1, `0.0.0.0` is every IPv4 address, `::` is every IPv6 and IPv4 address.")
    port: int = option(8000, integer(0, 65535, unit="a port"), group=Group.LISTENING,
        help="Port to listen on. 0 picks a free port and logs it.")
    reuse_port: bool = option(False, SWITCH, group=Group.LISTENING,
        help="`on` lets several processes of one user listen on the port (`SO_REUSEPORT`); Linux "
        "spreads connections over them. For nodes on one machine, with `AIONOTIFY_NATS_URL`.")
    metrics_port: int = option(0, PORT, group=Group.LISTENING, unset=UNSET,
        help="Port for `/metrics` and `/health` of this very process, beside those on the port "
        "that it may share.")
    memcached_hosts: tuple[Address, ...] = option((), ADDRESSES, group=Group.RECENT,
        variable="MEMCACHED_HOST", unset="`localhost`, then `memcached`",
        help="memcached servers, as `host` or `host:port`, several separated by commas. They are "
        "probed in this order; no others are tried.")
    memcached_port: int = option(11211, PORT, group=Group.RECENT, variable="MEMCACHED_PORT",
        help="Port of memcached servers that are given without one.")
    recent_limit: int = option(5, integer(1, 1000), group=Group.RECENT,
        help="Number of recent notifications that a client gets on connect.")
    # memcached takes an expiry time above 30 days for a date, so for one in the year 1970.
    recent_ttl: int = option(3600, integer(1, 2_592_000, unit="whole seconds",
        note="30 days, the longest that memcached keeps"), group=Group.RECENT,
        help="Seconds for which a notification is kept.")
    history_limit: int = option(1000, integer(1, 1_000_000), group=Group.LIMITS,
        formerly="AIONOTIFY_LOG_LIMIT",
        help="Notifications that each topic retains in memory, for clients that resume or read "
        "slowly; 16 MiB at most.")
    # At least a message of the maximum length, so that the newest notification always fits.
    history_bytes: int = option(268_435_456, integer(2_097_152, 1 << 40, unit="bytes",
        note="1 TiB"), group=Group.LIMITS,
        help="Memory for the notifications that all topics together retain, in bytes. Beyond it, "
        "the oldest are dropped, and clients that have not read them get a gap.")
    max_message_bytes: int = option(65536, integer(1, 1_048_576, unit="bytes", note="1 MiB"),
        group=Group.LIMITS,
        help="Maximum length of a message with its fields, in bytes of UTF-8.")
    # The default, 0, is not accepted as text: it stands for the limit on open files.
    max_connections: int = option(0, integer(1, 1_000_000), group=Group.LIMITS,
        unset="derived from the limit on open files",
        help="Maximum number of connected clients; further clients get 503.")
    max_connections_per_address: int = option(0, integer(0, 1_000_000, note="0 is no limit"),
        group=Group.LIMITS,
        help="Maximum number of connected clients from one IPv4 address or IPv6 network (/64); "
        "further clients get 429. 0 is no limit.")
    # Times are float for tests and embedding programs, which may use fractions of a second.
    heartbeat: float = option(25, integer(0, 3600, unit="whole seconds", note="0 turns pings off"),
        group=Group.TIMEOUTS,
        help="Seconds between two pings. A client that stays silent for two of them is "
        "disconnected. 0 turns pings off.")
    stall_timeout: float = option(30, integer(1, 3600, unit="whole seconds"), group=Group.TIMEOUTS,
        help="Seconds after which a client that accepts no data is disconnected.")
    keepalive_timeout: float = option(75, integer(1, 3600, unit="whole seconds"),
        group=Group.TIMEOUTS,
        help="Seconds after which an idle HTTP connection is closed. Load balancers reuse idle "
        "connections for 60 s, and answer 502 if the server closes one first.")
    shutdown_grace: float = option(5, integer(0, 300, unit="whole seconds"), group=Group.TIMEOUTS,
        help="Seconds in which clients are disconnected, one after another, when the server stops.")
    admin_tokens: tuple[str, ...] = option((), TOKENS, group=Group.ACCESS, secret=True,
        variable="AIONOTIFY_ADMIN_TOKEN",
        help="Token required to publish. Unset: anyone can. At least 16 characters; several "
        "separated by commas.")
    user_tokens: tuple[str, ...] = option((), TOKENS, group=Group.ACCESS, secret=True,
        variable="AIONOTIFY_USER_TOKEN",
        help="Token required to subscribe and read; an admin token works too. Unset: anyone can.")
    jwt_secrets: tuple[str, ...] = option((), SECRETS, group=Group.ACCESS, secret=True,
        variable="AIONOTIFY_JWT_SECRET",
        help="Secret that signs JWTs (HS256). With this or another key, everything needs a token. "
        "At least 32 characters; several separated by commas.")
    jwt_public_key: PublicKey | None = option(None, PUBLIC_KEY,  # noqa: RUF009  # immutable
        group=Group.ACCESS,
        variable="AIONOTIFY_JWT_KEY_FILE", unset=UNSET,
        help="PEM file with the public key of JWTs, in place of a secret: RSA (RS256), P-256 "
        "(ES256) or Ed25519 (EdDSA).")
    jwt_jwks: str = option("", KEY_SET, group=Group.ACCESS, unset=UNSET,
        help="URL of the key set of JWTs (JWKS), in place of a secret. Requires the issuer and the "
        "audience.")
    jwt_issuer: str = option("", CLAIM, group=Group.ACCESS, unset=UNSET,
        help="The `iss` that every JWT must have.")
    jwt_audience: str = option("", CLAIM, group=Group.ACCESS, unset=UNSET,
        help="The `aud` that every JWT must have, alone or among others.")
    allowed_origins: tuple[Origin | str, ...] = option((), ORIGINS, group=Group.ACCESS,
        help="Other origins whose web pages may connect, as `https://example.com`, several "
        "separated by commas; `file://` and `null` for pages without a host; `*` allows any.")
    trusted_proxies: int = option(0, integer(0, 10), group=Group.ACCESS,
        help="Number of trusted reverse proxies (for `X-Forwarded-For`, `Forwarded` and "
        "`X-Forwarded-Host`).")
    nats_url: NatsServers | None = option(None, SERVERS,  # noqa: RUF009  # immutable
        group=Group.CLUSTER, secret=True,
        unset="unset: one node",
        help="NATS servers, as `nats://user:password@host:4222` or `tls://…`, several separated by "
        "commas. All nodes on one stream have the same notifications; memcached is not used.")
    nats_credentials_file: Path | None = option(None, CREDENTIALS_FILE,  # noqa: RUF009
        group=Group.CLUSTER, unset=UNSET,
        help="File with an nkey seed or the content of a `.creds` file.")
    nats_ca_file: Path | None = option(None, CA_FILE,  # noqa: RUF009
        group=Group.CLUSTER, unset="those of the system",
        help="PEM file with the certificate authorities of the NATS servers.")
    nats_stream: str = option("aionotify", STREAM, group=Group.CLUSTER,
        help="Name of the stream, and prefix of its subjects.")
    nats_replicas: int = option(3, integer(1, 5), group=Group.CLUSTER,
        help="Number of servers that keep the stream. Used only by the node that creates it.")
    log_level: str = option("info", choice("debug", "info", "warning", "error"),
        group=Group.LOGGING,
        help="`debug`, `info`, `warning` or `error`. `debug` logs every request, without its "
        "query.")
    log_format: str = option("text", choice("text", "json"), group=Group.LOGGING,
        help="`text`, or `json` for one object per line.")
    # fmt: on

    @property
    def accepts_jwts(self) -> bool:
        """Whether there is a key to verify JWTs with."""
        return bool(self.jwt_secrets or self.jwt_public_key or self.jwt_jwks)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names and addresses to listen on."""
        return tuple(self.host.split(","))

    @property
    def memcached_addresses(self) -> tuple[Address, ...]:
        """The memcached servers to probe, in order."""
        hosts = self.memcached_hosts or (Address("localhost", 0), Address("memcached", 0))
        return tuple(Address(host, port or self.memcached_port) for host, port in hosts)


def read_settings(
    flags: Mapping[str, str], env_file: Path | None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, list[str]]:
    """Return the settings, and a hint for each variable that is unknown or was renamed.

    Settings come from `flags` (by field name), then `environ` (by default that of the process),
    then `env_file` (by default `.env` in the working directory, which may be missing).
    An empty value counts as unset.
    Raises SettingsError, with one line that names the variable, the value and the expectation.
    """
    environ = os.environ if environ is None else environ
    # Drop empty values before merging, so that they do not hide a value of the file. They are
    # common: `environment: {AIONOTIFY_PORT: $PORT}` in a compose file sets one if PORT is not set.
    in_file, in_environment = read_env_file(env_file), without_services(environ)
    written = _not_empty(in_file) | _not_empty(in_environment)
    values: dict[str, Any] = {}
    for each in options():
        variable, text = _find(each, flags, written)
        if text is not None:
            values[each.name] = _parse(each, variable, text)
    refuse_contradictions(values)
    settings = Settings(**values)
    _refuse_shared_tokens(settings)
    _refuse_equal_ports(settings)
    unset = {*in_file, *in_environment} - {*written}
    return settings, hints_on(options(), written, unset)


def options() -> list[Option]:
    """Return all options, in the order of the documentation."""
    return [option_of(each) for each in fields(Settings)]


def _not_empty(values: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in values.items() if value and value.strip()}


def _find(
    option: Option, flags: Mapping[str, str], written: Mapping[str, str]
) -> tuple[str, str | None]:
    """Return the variable to name in errors, and the text of `option`, or None if it is unset."""
    # Errors name the variable that the user wrote: that of a file, or a deprecated one.
    if option.secret and option.file_variable in written:
        return option.file_variable, _read_secret(option, written)
    if flag := flags.get(option.name, "").strip():
        return option.variable, flag
    if option.formerly and option.formerly in written and option.variable not in written:
        return option.formerly, written[option.formerly]
    return option.variable, written.get(option.variable)


def _read_secret(option: Option, written: Mapping[str, str]) -> str:
    """Return the content of a secret's file. That is how container engines pass secrets."""
    if option.variable in written:
        raise SettingsError(
            f"{option.variable} and {option.file_variable} are both set (expected one of them)"
        )
    path = Path(written[option.file_variable])
    if not path.is_file():
        raise SettingsError(f"{option.file_variable}: {str(path)!r} is not a file")
    try:
        # Unlike an empty variable, an empty file does not count as unset: the parser rejects "".
        # The user asked for a token, and the server must not start without one.
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        # str() of a UnicodeDecodeError would show a byte of the secret.
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error.strerror
        raise SettingsError(
            f"{option.file_variable}: {str(path)!r} cannot be read: {reason}"
        ) from error


def _parse(option: Option, variable: str, text: str) -> Any:
    try:
        return option.parser.parse(text.strip())
    except ValueError:
        shown = "invalid value, not shown" if option.secret else f"invalid value {shorten(text)!r}"
        # `from None`: a traceback with the original error could show the secret.
        raise SettingsError(f"{variable}: {shown} (expected {option.parser.expected})") from None
    except ImportError:
        raise SettingsError(
            f"{variable}: PyJWT or cryptography is not installed (expected after: pip install "
            "'PyJWT[crypto]')"
        ) from None


def _refuse_shared_tokens(settings: Settings) -> None:
    """Raise SettingsError if subscribers hold a token that lets them publish."""
    if set(settings.admin_tokens) & set(settings.user_tokens):
        raise SettingsError(
            "AIONOTIFY_ADMIN_TOKEN and AIONOTIFY_USER_TOKEN: the same token, not shown, is in both "
            "(expected different ones: every user could publish)"
        )


def _refuse_equal_ports(settings: Settings) -> None:
    if settings.metrics_port and settings.metrics_port == settings.port:
        raise SettingsError(
            f"AIONOTIFY_METRICS_PORT: {settings.port} is the port of AIONOTIFY_PORT as well "
            "(expected another one)"
        )
