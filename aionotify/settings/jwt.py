"""The settings of JWTs: secrets, a public key or the URL of a key set, and which go together.

PyJWT and cryptography are an optional extra: they are imported only if one of these is set.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aionotify.errors import SettingsError
from aionotify.net import is_safe_url
from aionotify.settings.parsers import Parser, comma_separated

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

MIN_RSA_BITS = 2048
"""The shortest RSA key that RS256 allows (RFC 7518 §3.3)."""

KEY_VARIABLES = {
    "jwt_secrets": "AIONOTIFY_JWT_SECRET",
    "jwt_public_key": "AIONOTIFY_JWT_KEY_FILE",
    "jwt_jwks": "AIONOTIFY_JWT_JWKS",
}
"""The settings with keys. One of them makes the server accept JWTs."""

CLAIM_VARIABLES = {
    "jwt_issuer": "AIONOTIFY_JWT_ISSUER",
    "jwt_audience": "AIONOTIFY_JWT_AUDIENCE",
}
"""The settings that claims are compared with."""

# As many bytes as the digest of HS256 has (RFC 7518 §3.2). Printable ASCII without the space, and
# without the comma that separates secrets; so it is no PEM either, which PyJWT would refuse.
_SECRET = re.compile(r"[!-+\--~]{32,}")


class PublicKey(NamedTuple):
    """A public key in PEM, and the only algorithm for which it is used."""

    algorithm: str
    pem: str


def algorithm_of(key: "PublicKeyTypes") -> str:
    """Return the algorithm for which a public key is used. Raise ValueError if there is none."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    match key:
        case rsa.RSAPublicKey() if key.key_size >= MIN_RSA_BITS:
            return "RS256"
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return "ES256"
        case ed25519.Ed25519PublicKey():
            return "EdDSA"
    raise ValueError


def refuse_contradictions(values: Mapping[str, Any]) -> None:
    """Raise SettingsError for settings of JWTs that exclude or need each other."""
    keys = [variable for field, variable in KEY_VARIABLES.items() if values.get(field)]
    claims = [variable for field, variable in CLAIM_VARIABLES.items() if values.get(field)]
    if len(keys) > 1:
        raise SettingsError(f"{' and '.join(keys)} are both set (expected one of them)")
    if claims and not keys:
        # Without a key, the server would be as open as without any of these settings.
        expected = ", ".join(KEY_VARIABLES.values())
        raise SettingsError(f"{claims[0]} is set without a key (expected one of {expected})")
    if "jwt_jwks" in values and len(claims) < len(CLAIM_VARIABLES):
        # A provider signs the tokens of all of its clients with the same keys.
        missing = next(each for each in CLAIM_VARIABLES.values() if each not in claims)
        raise SettingsError(
            f"AIONOTIFY_JWT_JWKS is set without {missing} (expected both: the keys also sign "
            "tokens that are meant for other services)"
        )
    _refuse_known_secrets(values)


def _refuse_known_secrets(values: Mapping[str, Any]) -> None:
    """Raise SettingsError if clients hold a secret as their token: they could sign JWTs."""
    tokens = {"admin_tokens": "AIONOTIFY_ADMIN_TOKEN", "user_tokens": "AIONOTIFY_USER_TOKEN"}
    for field, variable in tokens.items():
        if {*values.get("jwt_secrets", ())} & {*values.get(field, ())}:
            raise SettingsError(
                f"AIONOTIFY_JWT_SECRET and {variable}: the same value, not shown, is in both "
                "(expected different ones: every client could sign its own JWT)"
            )


def _secret(text: str) -> str:
    import jwt  # noqa: F401  # an error now, and not with the first token

    if not _SECRET.fullmatch(text):
        raise ValueError
    return text


def _public_key(text: str) -> PublicKey:
    import jwt  # noqa: F401
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        pem = Path(text).read_bytes()
        return PublicKey(algorithm_of(load_pem_public_key(pem)), pem.decode())
    except (OSError, UnsupportedAlgorithm) as error:
        raise ValueError from error


def _key_set(text: str) -> str:
    import jwt.algorithms

    if not jwt.algorithms.has_crypto:
        raise ImportError
    if not is_safe_url(text):
        raise ValueError
    return text


def _claim(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    return text


SECRETS = comma_separated(
    _secret,
    "a secret of 32 or more ASCII characters without spaces and commas, "
    "or several separated by commas",
)
PUBLIC_KEY: Parser[PublicKey | None] = Parser(
    _public_key,
    f"a PEM file with a public key: RSA of {MIN_RSA_BITS} bits or more, P-256 or Ed25519",
)
KEY_SET = Parser(_key_set, "an https URL, or an http URL of this machine")
CLAIM = Parser(_claim, "printable text")
