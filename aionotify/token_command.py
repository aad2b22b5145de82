"""`python -m aionotify token`: make a JWT for development, or tell why one is refused."""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aionotify.encoders import to_rfc3339
from aionotify.errors import AionotifyError, SettingsError, UsageError
from aionotify.settings import Settings, read_settings
from aionotify.settings.jwt import algorithm_of

_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def main(arguments: Sequence[str]) -> int:
    """Run the command. Return 0, 1 for a token that is refused, or 2 for invalid settings."""
    flags = _parser().parse_args(arguments)
    try:
        settings, _ = read_settings({}, flags.env_file)
        if flags.check is not None:
            return _check(sys.stdin.read().strip() if flags.check == "-" else flags.check, settings)
        print(_make(flags, settings))
    except (SettingsError, UsageError) as error:
        print(f"aionotify token: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aionotify token",
        description="Print a JWT for development, signed with the first of AIONOTIFY_JWT_SECRET or "
        "with --key; or check one with the settings of the server.",
    )
    parser.add_argument("--sub", help="the user (claim sub)")
    parser.add_argument("--scope", help="such as 'subscribe:user.42 publish:chat.*'", default="")
    parser.add_argument(
        "--expires", help="such as 90s, 15m, 1h or 7d (default %(default)s)", default="1h"
    )
    parser.add_argument("--key", type=Path, help="PEM file with the private key to sign with")
    parser.add_argument(
        "--check", metavar="TOKEN", help="tell what TOKEN allows; - reads it from standard input"
    )
    parser.add_argument("--env-file", type=Path, help="file with settings, instead of .env")
    return parser


def _check(token: str, settings: Settings) -> int:
    """Print what `token` allows, or why it is refused."""
    if not settings.accepts_jwts:
        raise UsageError(
            "no key is set (expected AIONOTIFY_JWT_SECRET, AIONOTIFY_JWT_KEY_FILE or "
            "AIONOTIFY_JWT_JWKS)"
        )
    from aionotify.access.authentication import Authenticator
    from aionotify.access.jwt import duration

    try:
        grant = asyncio.run(Authenticator(settings).verify(token))
    except AionotifyError as error:
        print(f"refused: {error}")
        return 1
    assert grant.expires is not None
    left = grant.expires - time.time()
    until = "in its leeway" if left <= 0 else f"for {duration(left)}"
    print(f"valid {until}, until {to_rfc3339(grant.expires)}")
    print(f"sub: {'none' if grant.subject is None else ascii(grant.subject)}")
    print(f"subscribe: {grant.subscribe}")
    print(f"publish: {grant.publish}")
    return 0


def _make(flags: argparse.Namespace, settings: Settings) -> str:
    """Return a new token."""
    if not flags.sub:
        raise UsageError("--sub is missing (expected --sub with --scope, or --check)")
    if flags.key is None and not settings.jwt_secrets:
        raise UsageError(
            "nothing to sign with (expected AIONOTIFY_JWT_SECRET, or --key with a private key)"
        )
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": flags.sub,
        "scope": flags.scope,
        "iat": now,
        "exp": now + _seconds(flags.expires),
    }
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience
    import jwt

    if flags.key is None:
        return jwt.encode(claims, settings.jwt_secrets[0], "HS256")
    algorithm, key = _private_key(flags.key)
    return jwt.encode(claims, key, algorithm)


def _private_key(path: Path) -> tuple[str, Any]:
    """Return the private key in a PEM file, and its algorithm."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
        return algorithm_of(key.public_key()), key
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        raise UsageError(
            f"--key: {str(path)!r} cannot be used (expected a PEM file with a private key and "
            "without a password: RSA of 2048 bits or more, P-256 or Ed25519)"
        ) from None


def _seconds(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if not found:
        raise UsageError(f"--expires: invalid value {text!r} (expected 90s, 15m, 1h or 7d)")
    return int(found[1]) * _SECONDS[found[2]]
