"""JWTs (RFC 7519): the signature, then the claims, then what they allow.

PyJWT verifies the signature. The claims are checked here: PyJWT 2.15 takes `exp: "1"` and
`exp: true` for times, its clock cannot be passed in, and its messages have no values.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

import jwt

from aionotify.errors import InvalidToken
from aionotify.grants import Grant
from aionotify.settings import Settings
from aionotify.text import shorten

MAX_LENGTH = 8 * 1024
"""Characters of a JWT at most."""

LEEWAY = 10
"""Seconds by which the clocks of the issuer and of this server may differ."""

LAST_TIME = 253_402_300_799
"""The last second of the year 9999, the latest time that RFC 3339 can write."""

HMAC = "HS256"

# JWS Compact Serialization (RFC 7515 §3.1). An encrypted token has five parts.
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")

_UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


class Key(NamedTuple):
    """A key, and the only algorithm for which it is used."""

    algorithm: str
    key: Any
    """A secret as text, or a public key in a form that PyJWT accepts."""


class KeySource(Protocol):
    """Where the keys come from."""

    async def keys_for(self, kid: str | None) -> Sequence[Key]:
        """Return the keys that may have signed a token with the header `kid`.

        Raises InvalidToken if there is none, and Unavailable if no key is known yet.
        """


class ConfiguredKeys:
    """The keys in the settings."""

    def __init__(self, settings: Settings) -> None:
        self._keys = [Key(HMAC, secret) for secret in settings.jwt_secrets]
        if settings.jwt_public_key is not None:
            self._keys.append(Key(*settings.jwt_public_key))

    async def keys_for(self, kid: str | None) -> Sequence[Key]:
        """Return all keys, whatever the `kid`: these have no names."""
        return self._keys


class Verifier:
    """Verifies JWTs."""

    def __init__(self, keys: KeySource, *, issuer: str, audience: str) -> None:
        """Compare `issuer` and `audience` with the claims unless they are empty."""
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    async def verify(self, token: str) -> Grant:
        """Return the grant of `token`. Raise InvalidToken, or Unavailable without any key."""
        header = _read_header(token)
        keys = await self._keys.keys_for(header.get("kid"))
        return self._read_claims(_signed_claims(token, keys))

    def _read_claims(self, claims: Mapping[str, Any]) -> Grant:
        now = time.time()
        expires = _time_of(claims, "exp")
        if expires is None:
            raise InvalidToken("it has no exp, so it would be valid forever")
        if expires <= now - LEEWAY:
            raise InvalidToken(f"it expired {duration(now - expires)} ago")
        for claim, meaning in (("nbf", "is not valid yet"), ("iat", "was issued in the future")):
            start = _time_of(claims, claim)
            if start is not None and start > now + LEEWAY:
                raise InvalidToken(f"it {meaning} ({claim} is in {duration(start - now)})")
        self._check_issuer(claims.get("iss"))
        self._check_audience(claims.get("aud"))
        return Grant.from_scope(
            _text_of(claims, "scope") or "", _text_of(claims, "sub"), int(expires)
        )

    def _check_issuer(self, issuer: object) -> None:
        if self._issuer and issuer != self._issuer:
            raise InvalidToken(f"wrong issuer {_shown(issuer)} (expected {_shown(self._issuer)})")

    def _check_audience(self, audience: object) -> None:
        """Raise InvalidToken unless `audience` is ours, or a list with ours (RFC 7519 §4.1.3)."""
        audiences = audience if isinstance(audience, list) else [audience]
        if self._audience and self._audience not in audiences:
            expected = f"expected {_shown(self._audience)}"
            raise InvalidToken(f"wrong audience {_shown(audience)} ({expected})")


def duration(seconds: float) -> str:
    """Return a length of time for people: `5 minutes`."""
    size, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    count = int(seconds // size)
    return f"{count} {unit if count != 1 else unit[:-1]}"


def _read_header(token: str) -> dict[str, Any]:
    """Return the header, which is not to be trusted: only `kid` is used, to choose a key.

    Keys in it, or addresses of keys (`jwk`, `jku`, `x5c`, `x5u`), are ignored.
    """
    if len(token) > MAX_LENGTH:
        raise InvalidToken(f"it has {len(token)} characters (expected at most {MAX_LENGTH})")
    if not _SHAPE.fullmatch(token):
        raise InvalidToken("it is not a JWT (expected three parts in base64url, and dots between)")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        _refuse(error)
    if "crit" in header:  # RFC 7515 §4.1.11; PyJWT 2.15 accepts `b64` in it
        raise InvalidToken("it has critical extensions (expected no crit)")
    return header


def _signed_claims(token: str, keys: Sequence[Key]) -> dict[str, Any]:
    """Return the claims, if one of `keys` has signed them."""
    for key in keys:
        try:
            # One algorithm for each key, and never that of the token: otherwise a public key, which
            # everyone knows, could serve as an HMAC secret (RFC 8725 §2.1).
            payload = jwt.api_jws.decode(token, key.key, algorithms=[key.algorithm])
        except jwt.InvalidSignatureError:
            continue
        except jwt.InvalidAlgorithmError:
            raise InvalidToken(f"its alg is not that of the key ({key.algorithm})") from None
        except jwt.PyJWTError as error:
            _refuse(error)
        return _parse_claims(payload)
    raise InvalidToken("its signature does not match")


def _parse_claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):  # a nested JWT, for example
        claims = None
    if not isinstance(claims, dict):
        raise InvalidToken("its claims are not a JSON object")
    return claims


def _time_of(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a claim that is a time in seconds since the epoch (RFC 7519 §2, NumericDate)."""
    value = claims.get(name)
    if value is None:
        return None
    # `type` and not `isinstance`, because True is an int. NaN is not in any range.
    if type(value) not in (int, float) or not 0 <= value <= LAST_TIME:
        raise InvalidToken(f"its {name} is {_shown(value)} (expected seconds since 1970)")
    return float(value)


def _text_of(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidToken(f"its {name} is {_shown(value)} (expected text)")
    return value


def _shown(value: object) -> str:
    """Return a claim for the log. As JSON in ASCII, so that no token can forge a line."""
    return shorten(json.dumps(value))


def _refuse(error: jwt.PyJWTError) -> NoReturn:
    raise InvalidToken(f"it cannot be read: {shorten(ascii(str(error)))}") from None
