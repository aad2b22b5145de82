"""JWTs for tests, and keys to sign them with."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

SECRET, OLD_SECRET = "s" * 32, "retired-secret-of-32-characters-"

RSA_KEY = rsa.generate_private_key(65537, 2048)
P256_KEY = ec.generate_private_key(ec.SECP256R1())
ED25519_KEY = ed25519.Ed25519PrivateKey.generate()

KEYS: dict[str, Any] = {"RS256": RSA_KEY, "ES256": P256_KEY, "EdDSA": ED25519_KEY}
"""A private key for each algorithm of AIONOTIFY_JWT_KEY_FILE."""


def public_pem(key: Any) -> str:
    """Return the public half of a private key."""
    public = key.public_key()
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private_pem(key: Any) -> str:
    """Return a private key, without a password."""
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def jwk(key: Any, **members: object) -> dict[str, Any]:
    """Return the public half of a private key as a JWK, with `members` added."""
    algorithms: dict[type, Any] = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    algorithm = next(found for kind, found in algorithms.items() if isinstance(key, kind))
    found = algorithm.to_jwk(key.public_key(), as_dict=True)
    found.pop("key_ops", None)
    return {**found, **members}


def claims(scope: object = "subscribe:* publish:*", **others: object) -> dict[str, object]:
    """Return claims that are valid for a minute; None in `others` removes a claim."""
    found = {"sub": "42", "scope": scope, "exp": int(time.time()) + 60, **others}
    return {name: value for name, value in found.items() if value is not None}


def token(
    scope: object = "subscribe:* publish:*",
    *,
    key: Any = SECRET,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
    **others: object,
) -> str:
    """Return a signed token with these claims; without any, one that allows everything."""
    return signed(claims(scope, **others), key, {"alg": algorithm, "typ": "JWT", **(headers or {})})


def signed(payload: object, key: Any, headers: dict[str, Any]) -> str:
    """Return a token with any payload and any headers, also those that PyJWT would not write."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    start = f"{_base64(json.dumps(headers).encode())}.{_base64(body)}"
    return f"{start}.{_base64(_signature(start.encode(), key, headers['alg']))}"


def _signature(data: bytes, key: Any, algorithm: str) -> bytes:
    if algorithm == "none":
        return b""
    if algorithm == "HS256":  # PyJWT refuses a PEM as a secret
        secret = key.encode() if isinstance(key, str) else key
        return hmac.new(secret, data, hashlib.sha256).digest()
    return jwt.get_algorithm_by_name(algorithm).sign(data, key)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
