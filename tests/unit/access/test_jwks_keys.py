"""Which keys of a key set count, and for which algorithm each of them."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from aionotify.access.jwks import usable_keys
from tests.support.jwts import ED25519_KEY, P256_KEY, RSA_KEY, jwk

FIRST, SECOND = jwk(P256_KEY, kid="first"), jwk(RSA_KEY, kid="second")

USABLE = {
    "RSA": (jwk(RSA_KEY), "RS256"),
    "RSA with alg": (jwk(RSA_KEY, alg="PS512"), "PS512"),
    "P-256": (jwk(P256_KEY, use="sig", key_ops=["verify"]), "ES256"),
    "P-384": (jwk(ec.generate_private_key(ec.SECP384R1())), "ES384"),
    "Ed25519": (jwk(ED25519_KEY), "EdDSA"),
}


@pytest.mark.parametrize(("member", "algorithm"), USABLE.values(), ids=USABLE)
def test_key_has_one_algorithm(member: dict[str, Any], algorithm: str) -> None:
    ((name, key),) = usable_keys({"keys": [member]})
    assert (name, key.algorithm) == (None, algorithm)


SHORT_RSA = rsa.generate_private_key(65537, 1024)
PASSED_OVER = {
    "secret": {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"},
    "secret with alg": {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
    "RSA as HMAC": jwk(RSA_KEY, alg="HS256"),
    "RSA as none": jwk(RSA_KEY, alg="none"),
    "RSA as EC": jwk(RSA_KEY, alg="ES256"),
    "alg is null": jwk(RSA_KEY, alg=None),
    "for encryption": jwk(RSA_KEY, use="enc"),
    "for signing": jwk(RSA_KEY, key_ops=["sign"]),
    "operations as text": jwk(RSA_KEY, key_ops="verify"),
    "private": jwk(P256_KEY, d="AAAA"),
    "short": jwk(SHORT_RSA),
    "other curve": jwk(P256_KEY, crv="P-384"),
    "X25519": {"kty": "OKP", "crv": "X25519", "x": jwk(ED25519_KEY)["x"]},
    "no coordinates": {"kty": "EC", "crv": "P-256"},
    "broken base64": jwk(P256_KEY, x="!!!"),
    "kid is a number": jwk(P256_KEY, kid=1),
    "kty is a list": jwk(P256_KEY, kty=["EC"]),
    "nothing": {},
}


@pytest.mark.parametrize("member", PASSED_OVER.values(), ids=PASSED_OVER)
def test_unusable_key_is_passed_over(member: dict[str, Any]) -> None:
    ((name, _),) = usable_keys({"keys": [member, FIRST, None, "x"]})
    assert name == "first"


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, "keys"])
def test_other_document_is_no_key_set(document: object) -> None:
    with pytest.raises(ValueError, match="not a key set"):
        usable_keys(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=30)
@given(
    base=st.sampled_from([FIRST, SECOND, jwk(ED25519_KEY)]),
    changes=st.dictionaries(
        st.sampled_from(["kty", "crv", "alg", "use", "key_ops", "kid", "x", "y", "n", "e", "d"]),
        JSON | st.sampled_from(["RSA", "EC", "OKP", "AQAB", "AA", "P-256", "HS256"]),
        min_size=1,
        max_size=3,
    ),
)
def test_any_member_is_read_or_passed_over(base: dict[str, Any], changes: dict[str, Any]) -> None:
    member = json.loads(json.dumps({**base, **changes}))
    for _, key in usable_keys({"keys": [member]}):
        assert key.algorithm[:2] in ("RS", "PS", "ES", "Ed")
        assert isinstance(
            key.key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
        )
