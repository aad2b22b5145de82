"""Parsers of the settings of NATS, with which several nodes work together."""

import re
import ssl
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from aionotify.errors import SettingsError
from aionotify.net import Address
from aionotify.settings.parsers import ADDRESSES, Parser

DEFAULT_PORT = 4222

_URL = re.compile(r"(nats|tls)://(?:([^@/?#\s]+)@)?([^@/?#\s]+)/?")
_CREDENTIALS = re.compile(
    r"-+BEGIN NATS USER JWT-+\s+(\S+)\s+-+END .*-+BEGIN USER NKEY SEED-+\s+(\S+)\s+-+END .*",
    re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NatsServers(NamedTuple):
    """The servers of one NATS cluster, and how to log in to them."""

    addresses: tuple[Address, ...]
    tls: bool
    user: str | None = None
    password: str | None = None
    """Without a user, it is a token."""

    @property
    def urls(self) -> list[str]:
        """The URLs of the servers, without secrets."""
        return [f"{'tls' if self.tls else 'nats'}://{address}" for address in self.addresses]


class Credentials(NamedTuple):
    """The content of a credentials file."""

    seed: str
    """The private nkey of a user."""
    jwt: str | None
    """The user's JWT; None if the server knows the public nkey itself."""


def read_credentials(path: Path) -> Credentials:
    """Read an nkey seed or a `.creds` file. Raise ValueError or OSError, without the secret."""
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if found := _CREDENTIALS.fullmatch(text):
        jwt, seed = found[1], found[2]
    else:
        jwt, seed = None, text
    if not _is_seed(seed):
        raise ValueError(f"{path} has no nkey seed of a user")
    return Credentials(seed, jwt)


def _is_seed(text: str) -> bool:
    import nkeys  # type: ignore[import-untyped]

    try:
        prefix, raw = nkeys.decode_seed(text.encode())
        # nkeys 0.2 does not compare the checksum.
        again = nkeys.encode_seed(raw, prefix)
    except nkeys.NkeysError:
        return False
    return bool(prefix == nkeys.PREFIX_BYTE_USER and again == text.encode())


def _servers(text: str) -> NatsServers:
    """Parse `nats://user:password@host:port,host:port` or several whole URLs with one login."""
    if find_spec("nats") is None:
        raise SettingsError(
            "AIONOTIFY_NATS_URL: nats-py is not installed (expected after: pip install "
            "'aionotify-server[cluster]')"
        )
    parts = [part.strip() for part in text.split(",")]
    scheme = parts[0].partition("://")[0]
    found: list[NatsServers] = []
    for part in parts:
        # As nats-py does not decode `%40` in a password, it gets them apart, decoded here.
        match = _URL.fullmatch(part if "://" in part else f"{scheme}://{part}")
        if match is None:
            raise ValueError
        user, password = _login(match[2])
        found.append(NatsServers(_addresses(match[3]), match[1] == "tls", user, password))
    logins = {(each.user, each.password) for each in found if each.password is not None}
    if len(logins) > 1 or len({each.tls for each in found}) > 1:
        raise ValueError
    user, password = logins.pop() if logins else (None, None)
    addresses = tuple(address for each in found for address in each.addresses)
    return NatsServers(addresses, found[0].tls, user, password)


def _login(text: str | None) -> tuple[str | None, str | None]:
    """Return user and password; a single word is a token, which has no user."""
    if text is None:
        return None, None
    user, colon, password = text.partition(":")
    if not colon:
        return None, unquote(user)
    if not user or not password:
        raise ValueError
    return unquote(user), unquote(password)


def _addresses(text: str) -> tuple[Address, ...]:
    return tuple(Address(host, port or DEFAULT_PORT) for host, port in ADDRESSES.parse(text))


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError
    return text


def _credentials_file(text: str) -> Path:
    if find_spec("nkeys") is None:
        raise SettingsError(
            "AIONOTIFY_NATS_CREDENTIALS_FILE: nkeys is not installed (expected after: pip install "
            "'aionotify-server[cluster]')"
        )
    try:
        read_credentials(Path(text))
    except OSError as error:
        raise ValueError from error
    return Path(text)


def _ca_file(text: str) -> Path:
    try:
        ssl.create_default_context(cafile=text)
    except OSError as error:  # also ssl.SSLError
        raise ValueError from error
    return Path(text)


SERVERS = Parser(
    _servers,
    "nats://user:password@host:4222 or tls://…, several separated by commas, all with one login",
)
STREAM = Parser(_name, "1 to 64 letters, digits, '_' or '-'")
CREDENTIALS_FILE = Parser(
    _credentials_file,
    "the path of a readable file with a user's nkey seed or the content of a .creds file",
)
CA_FILE = Parser(_ca_file, "the path of a readable file with certificates in PEM format")
