"""The options of nats-py's client, and its errors as text."""

import base64
import logging
import ssl
from pathlib import Path
from typing import Any

import nats.errors

from aionotify.settings import Settings
from aionotify.settings.nats import Credentials, NatsServers, read_credentials
from aionotify.text import shorten

CONNECT_TIMEOUT = 2.0
"""Seconds in which one server must have answered."""


def options(servers: NatsServers, settings: Settings) -> dict[str, Any]:
    """Return the arguments of `connect`, without callbacks."""
    return {
        "servers": servers.urls,
        "name": "aionotify",
        "connect_timeout": CONNECT_TIMEOUT,
        "reconnect_time_wait": 0.25,
        # Otherwise it gives up for good after 60 attempts.
        "max_reconnect_attempts": -1,
        "ping_interval": 2,
        # Otherwise a publish that has timed out is kept and sent after the next connect.
        "pending_size": -1,
        "tls": tls_context(servers, settings),
        **login(servers, settings),
    }


def tls_context(servers: NatsServers, settings: Settings) -> ssl.SSLContext | None:
    """Return how to verify the servers, or None without TLS."""
    if not servers.tls and settings.nats_ca_file is None:
        return None
    # asyncio logs "returning true from eof_received() has no effect when using ssl" at the end of
    # each connection of nats-py 2.16.
    logging.getLogger("asyncio").addFilter(_is_no_eof)
    return ssl.create_default_context(cafile=settings.nats_ca_file)


def _is_no_eof(record: logging.LogRecord) -> bool:
    return "returning true from eof_received" not in record.getMessage()


def login(servers: NatsServers, settings: Settings) -> dict[str, Any]:
    """Return the arguments by which the server knows this node. Raise ValueError or OSError."""
    if settings.nats_credentials_file is not None:
        return _signing(settings.nats_credentials_file)
    if servers.password is None:
        return {}
    if servers.user is None:
        return {"token": servers.password}
    return {"user": servers.user, "password": servers.password}


def _signing(path: Path) -> dict[str, Any]:
    """Return the arguments for a file, which may be replaced: a JWT may expire within hours."""
    # Read here and not by nats-py 2.16, which never returns if a file has no JWT.
    seed, jwt = read_credentials(path)
    if jwt is None:
        return {"nkeys_seed_str": seed}

    def read() -> Credentials:
        try:
            return read_credentials(path)
        except (OSError, ValueError) as error:
            # Any other error would end the attempts of nats-py to reconnect.
            raise nats.errors.Error(str(error)) from error

    def sign(nonce: str) -> bytes:
        import nkeys  # type: ignore[import-untyped]

        return base64.b64encode(
            nkeys.from_seed(bytearray(read().seed, "ascii")).sign(nonce.encode())
        )

    return {"user_jwt_cb": lambda: bytearray(read().jwt or "", "ascii"), "signature_cb": sign}


def describe(error: BaseException) -> str:
    """Return an error of nats-py in one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return shorten(text.removeprefix("nats: "))
